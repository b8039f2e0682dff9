"""What ``carbon-train check`` does."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.reports.exports.checks import Claim, problems_of

_TEXTS = ("name", "accelerator")


def check(file: Path) -> None:
    """Check published figures; exit status 1 if they are inconsistent."""
    inconsistent_claims = 0
    for claim in _read_claims(file):
        problems = problems_of(claim)
        inconsistent_claims += bool(problems)
        for problem in problems or [f"{claim.name}: no inconsistencies found"]:
            click.echo(f"{problem}.")
    sys.exit(1 if inconsistent_claims else 0)


def _read_claims(file: Path) -> list[Claim]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
    rows = document if isinstance(document, list) else [document]
    return [_parse_claim(file, number, row) for number, row in enumerate(rows, start=1)]


def _parse_number(name: str, value: Any) -> Any:
    """Convert numbers such as `7e6`, which YAML 1.1 reads as strings."""
    if name in _TEXTS or not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _parse_claim(file: Path, number: int, row: Any) -> Claim:
    if not isinstance(row, dict) or not row:
        raise InputError(
            f"{file}, claim {number}: must be a mapping of figures, such as `energy_kwh: 449000`."
        )
    row = {name: _parse_number(name, value) for name, value in row.items()}
    names = [field.name for field in dataclasses.fields(Claim)]
    for name, value in row.items():
        if name not in names:
            raise InputError(
                f"{file}, claim {number}: there is no figure {name!r}."
                f"{did_you_mean(str(name), names)} Figures: {', '.join(names)}."
            )
        is_valid = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if name not in _TEXTS and not is_valid:
            raise InputError(
                f"{file}, claim {number}: invalid {name} {value!r} (expected a number of 0 or "
                "more)."
            )
    return Claim(**{"name": f"claim {number}", **row})
