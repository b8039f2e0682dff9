"""``carbon-train estimate``: what a training would take, before it starts."""

from __future__ import annotations

import re
from typing import Any

import click

from carbon_trainer.cli import complete

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
def command(**flags: Any) -> None:
    """Say what a training would take: hours, days, energy, emissions, cost.

    Each figure is an estimate from published runs, with an interval that holds the truth in about
    four cases of five. With --compare it stands beside other ways to have queries answered.
    """
    from carbon_trainer.cli.actions.estimate import show_estimate

    show_estimate(**flags)
