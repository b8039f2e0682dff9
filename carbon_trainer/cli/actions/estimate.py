"""What ``carbon-train estimate`` does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from carbon_trainer.cli.actions import estimate_text as text
from carbon_trainer.errors import InputError
from carbon_trainer.estimate.compare import Use, compare
from carbon_trainer.estimate.estimate import Job, estimate
from carbon_trainer.models.recipes import recipe


def show_estimate(as_json: bool, listed: bool, **flags: Any) -> None:
    """Print an estimate, set beside other ways where that is asked for, or its sources."""
    if listed:
        if as_json:
            click.echo(json.dumps(text.published_document(), indent=1))
        else:
            text.show_published()
        return
    wanted = _use_flags(flags)
    job = Job(**_job_settings(flags))
    found = estimate(job)
    document = text.document(found)
    if wanted is not None:
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
    chosen = recipe(name)
    shape = chosen.shape if shaped else None
    layers, width = (None, None) if shape is None else (shape.layers, shape.query)
    return float(chosen.parameters()), layers, width


def _is_encoder_decoder(name: str) -> bool:
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
