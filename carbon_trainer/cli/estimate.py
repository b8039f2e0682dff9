"""``carbon-train estimate``: what a training would take, before it starts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.errors import InputError

SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class Amount(click.ParamType[float]):
    """A number such as ``20e9`` or ``20B``."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        text = str(value).strip().upper().replace("_", "")
        # A comma parts thousands; 1,5B would else be taken for fifteen billion.
        text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
        factor = SUFFIXES.get(text[-1:], 1.0)
        try:
            return float(text[:-1] if factor > 1 else text) * factor
        except ValueError:
            self.fail(f"{value!r} is not a number: write 20e9 or 20B.", param, ctx)


@click.command("estimate")
@click.option("--params", type=Amount(), help="Parameters; of a mixture of experts those in use.")
@click.option("--recipe", help="Take parameters, layers and width from a recipe instead.")
@click.option("--tokens", type=Amount(), help="Tokens to train on: 400e9 or 400B.")
@click.option(
    "--gpu",
    default="H100",
    show_default=True,
    shell_complete=complete.boards,
    help="Accelerator: A100, H100, MI300X …",
)
@click.option("--gpus", default=1, show_default=True, help="How many.")
@click.option(
    "--zone",
    shell_complete=complete.zones,
    help="Grid: GB, FR, US-CA.  [default: the world's average]",
)
@click.option("--start", help="When it begins (2026-12-01), to say when it would end.")
@click.option(
    "--pue", default=1.0, show_default=True, help="The building's energy over the machines'."
)
@click.option("--price-per-kwh", type=float, help="Price of electricity, in any currency.")
@click.option("--mfu", type=float, help="Share of the dense peak that is reached while it trains.")
@click.option(
    "--peak-tflops", type=float, help="The accelerator's dense 16-bit peak, if it differs."
)
@click.option("--development", default=1.0, show_default=True,
              help="All computing over the final run's: trials, failures, ablations.")  # fmt: skip
@click.option("--sequence-length", type=int, help="Tokens of a sequence, to count attention.")
@click.option("--layers", type=int, help="Layers, for attention; assumed from the parameters.")
@click.option("--hidden", type=int, help="Width, for attention; assumed from the parameters.")
@click.option("--compare", type=Amount(), metavar="QUERIES",
              help="Set it beside fine-tuning and using a larger open model.")  # fmt: skip
@click.option("--tokens-per-query", type=Amount(), help="Tokens of an answer.  [default: 400]")
@click.option("--fine-tuning-tokens", type=Amount(),
              help="Tokens to fine-tune on, repeats included.  [default: 11.25M]")  # fmt: skip
@click.option("--open-params", type=Amount(), help="The larger open model's.  [default: 70B]")
@click.option("--json", "as_json", is_flag=True, help="Print it for machines.")
@click.option(
    "--list", "listed", is_flag=True, help="List the published runs that it is made from."
)
def command(as_json: bool, listed: bool, **flags: Any) -> None:
    """Say what a training would take: hours, days, energy, emissions, cost.

    Each figure is an estimate from published runs, with an interval that holds the truth in about
    four cases of five. With --compare it stands beside other ways to have queries answered.
    """
    from carbon_trainer.cli import estimate_text as text

    if listed:
        if as_json:
            click.echo(json.dumps(text.published_document(), indent=1))
        else:
            text.show_published()
        return
    wanted = _use_flags(flags)
    from carbon_trainer.estimate.estimate import Job, estimate

    job = Job(**_job_settings(flags))
    found = estimate(job)
    document = text.document(found)
    if wanted is not None:
        from carbon_trainer.estimate.compare import Use, compare

        use = Use(**wanted)
        ways = compare(job, use)
        document["compare"] = text.ways_document(ways, use, found)
    if as_json:
        click.echo(json.dumps(document, indent=1))
        return
    text.show(found)
    if wanted is not None:
        text.show_ways(ways, use, found)


def _use_flags(flags: dict[str, Any]) -> dict[str, float] | None:
    """Take out the flags of a comparison; None where none is asked for."""
    queries = flags.pop("compare")
    names = {
        "tokens_per_query": "tokens_per_query",
        "fine_tuning_tokens": "fine_tuning_tokens",
        "open_params": "open_parameters",
    }
    told = {setting: value for flag, setting in names.items()
            if (value := flags.pop(flag)) is not None}  # fmt: skip
    if queries is not None:
        return {"queries": queries, **told}
    if told:
        raise InputError("give --compare too, with the number of queries, such as --compare 1e6.")
    return None


def _job_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """Turn flags into a job's settings, a recipe's among them."""
    params, name = flags.pop("params"), flags.pop("recipe")
    layers, hidden = flags.pop("layers"), flags.pop("hidden")
    if flags["tokens"] is None or (params is None and name is None):
        raise InputError(
            "give --params (or --recipe) and --tokens, such as --params 20e9 --tokens 400e9."
        )
    if name is not None:
        if any(one is not None for one in (params, layers, hidden)):
            raise InputError("give --recipe alone: it has parameters, layers and width.")
        params, layers, hidden = _of_recipe(name, shaped=flags["sequence_length"] is not None)
        flags["encoder_decoder"] = _is_encoder_decoder(name)
    flags["start"] = _instant(flags["start"])
    return {"parameters": params, "layers": layers, "width": hidden, **flags}


def _of_recipe(name: str, *, shaped: bool) -> tuple[float, int | None, int | None]:
    """Return a recipe's parameters and, where they are wanted and known, layers and width."""
    from carbon_trainer.models.recipes import recipe

    chosen = recipe(name)
    shape = chosen.shape if shaped else None
    layers, width = (None, None) if shape is None else (shape.layers, shape.query)
    return float(chosen.parameters()), layers, width


def _is_encoder_decoder(name: str) -> bool:
    from carbon_trainer.models.recipes import recipe

    return recipe(name).task == "seq2seq"


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--start is {text!r}, but should be a date such as 2026-12-01."
        ) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
