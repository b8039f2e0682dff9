"""What ``runs correct``, ``state`` and ``instrument`` do: append a record to an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from carbon_trainer.cli.actions.location import open_ledger
from carbon_trainer.clock import SystemClock
from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.hardware import machine
from carbon_trainer.ledger.amend import amend, changes_of
from carbon_trainer.ledger.facts import Amendment, BoundaryStated, Corrected, InstrumentHeld
from carbon_trainer.ledger.terms import INSTRUMENTS

_INSTRUMENT = {
    "instrument": str, "registry": str, "serial": str, "vintage": str, "market": str,
    "rate_gco2e_per_kwh": float, "energy_kwh": float, "source": str,
}  # fmt: skip


def correct(
    run: str, seq: int, changes: Sequence[str], reason: str, by: str | None,
    ledger: str | None, runs_dir: str | None,
) -> None:  # fmt: skip
    """Append a correction of one of a run's records."""
    texts = dict(_parse_change(text) for text in changes)
    source = open_ledger(ledger, runs_dir)
    fields = changes_of(source, source.resolve(run), seq, texts)
    fact = Corrected(of_seq=seq, changes=fields, reason=reason, by=by or machine.user_name())
    _append(run, fact, "correction", ledger, runs_dir)


def state(
    run: str, operation: str, organisation: str, provider: str, region: str, by: str | None,
    ledger: str | None, runs_dir: str | None,
) -> None:  # fmt: skip
    """Record who operated the machines of a run."""
    fact = BoundaryStated(
        operation=operation, organisation=organisation, provider=provider, region=region,
        by=by or machine.user_name(),
    )  # fmt: skip
    _append(run, fact, "statement", ledger, runs_dir)


def instrument(
    run: str, file: Path, by: str | None, ledger: str | None, runs_dir: str | None
) -> None:
    """Record the contractual instrument in a file for a run's electricity."""
    fact = InstrumentHeld(**read_instrument(file), by=by or machine.user_name())
    _append(run, fact, "instrument", ledger, runs_dir)


def _append(run: str, fact: Amendment, noun: str, ledger: str | None, runs_dir: str | None) -> None:
    source = open_ledger(ledger, runs_dir)
    run_id = source.resolve(run)
    head = amend(source, run_id, fact, SystemClock().now_ns())
    click.echo(
        f"{run_id}: added {noun} as record {head.seq}; rebuild the report with "
        f"`carbon-train report {run_id}`."
    )


def _parse_change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set: invalid change {text!r} (expected FIELD=VALUE, such as pue=1.2).")
    return name.strip(), value


def read_instrument(file: Path) -> dict[str, Any]:
    """Read a contractual instrument's fields from a YAML file.

    Raises:
        InputError: if it cannot be read, or a field is unknown or missing.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} must be a mapping of fields, such as `registry: AIB`.")
    for name in values:
        if name not in _INSTRUMENT:
            raise InputError(
                f"{file}: there is no field {name!r}.{did_you_mean(str(name), _INSTRUMENT)} "
                f"Fields: {', '.join(_INSTRUMENT)}."
            )
    for name in _INSTRUMENT:
        if name not in values and name not in ("energy_kwh", "source"):
            hint = f" (one of {', '.join(INSTRUMENTS)})" if name == "instrument" else ""
            raise InputError(f"{file}: missing field {name}{hint}.")
    fields = {"energy_kwh": None, "source": "", **values}
    return {
        name: str(value) if _INSTRUMENT[name] is str else value for name, value in fields.items()
    }
