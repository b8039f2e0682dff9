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
    """Print an estimate, with a comparison if requested, or the published runs behind it."""
    if listed:
        if as_json:
            click.echo(json.dumps(text.published_document(), indent=1))
        else:
            text.show_published()
        return
    use_settings = _use_settings(flags)
    job = Job(**_job_settings(flags))
    result = estimate(job)
    document = text.document(result)
    if use_settings is not None:
        use = Use(**use_settings)
        ways = compare(job, use)
        document["compare"] = text.ways_document(ways, use, result)
    if as_json:
        click.echo(json.dumps(document, indent=1))
        return
    text.show(result)
    if use_settings is not None:
        text.show_ways(ways, use, result)


def _use_settings(flags: dict[str, Any]) -> dict[str, float] | None:
    """Remove the flags of a comparison from ``flags``; None without --compare."""
    queries = flags.pop("compare")
    names = {
        "tokens_per_query": "tokens_per_query",
        "fine_tuning_tokens": "fine_tuning_tokens",
        "open_params": "open_parameters",
    }
    settings = {setting: value for flag, setting in names.items()
                if (value := flags.pop(flag)) is not None}  # fmt: skip
    if queries is not None:
        return {"queries": queries, **settings}
    if settings:
        flag = next(flag for flag, setting in names.items() if setting in settings)
        raise InputError(
            f"--{flag.replace('_', '-')} needs --compare with the number of queries, such as "
            "--compare 1e6."
        )
    return None


def _job_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """Turn flags into a job's settings, a recipe's among them."""
    params, name = flags.pop("params"), flags.pop("recipe")
    layers, hidden = flags.pop("layers"), flags.pop("hidden")
    if flags["tokens"] is None or (params is None and name is None):
        raise InputError(
            "missing --params (or --recipe) and --tokens, such as --params 20e9 --tokens 400e9."
        )
    if name is not None:
        if any(value is not None for value in (params, layers, hidden)):
            raise InputError("--recipe cannot be combined with --params, --layers or --hidden.")
        with_shape = flags["sequence_length"] is not None
        params, layers, hidden = _recipe_dimensions(name, with_shape=with_shape)
        flags["encoder_decoder"] = _is_encoder_decoder(name)
    flags["start"] = _start(flags["start"])
    return {"parameters": params, "layers": layers, "width": hidden, **flags}


def _recipe_dimensions(name: str, *, with_shape: bool) -> tuple[float, int | None, int | None]:
    """Return a recipe's parameters, and its layers and width if requested and known."""
    architecture = recipe(name)
    shape = architecture.shape if with_shape else None
    layers, width = (None, None) if shape is None else (shape.layers, shape.query)
    return float(architecture.parameters()), layers, width


def _is_encoder_decoder(name: str) -> bool:
    return recipe(name).task == "seq2seq"


def _start(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--start: invalid date {text!r} (expected one such as 2026-12-01)."
        ) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
