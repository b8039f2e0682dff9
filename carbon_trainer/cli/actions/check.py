"""What ``carbon-train check`` does."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.reports.checks import Claim, problems_of

_TEXTS = ("name", "accelerator")


def check(file: Path) -> None:
    """Check published figures; exit status 1 if something cannot be right."""
    claims = _claims(file)
    wrong = 0
    for claim in claims:
        problems = problems_of(claim)
        wrong += bool(problems)
        for problem in problems or [f"{claim.name}: nothing that cannot be right was found"]:
            click.echo(f"{problem}.")
    sys.exit(1 if wrong else 0)


def _claims(file: Path) -> list[Claim]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not YAML: {' '.join(str(error).split())}.") from error
    rows = document if isinstance(document, list) else [document]
    return [_claim(file, number, row) for number, row in enumerate(rows, start=1)]


def _number(name: str, value: Any) -> Any:
    """Take `7e6`, which is a text to YAML, for the number that people mean."""
    if name in _TEXTS or not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _claim(file: Path, number: int, row: Any) -> Claim:
    if not isinstance(row, dict) or not row:
        raise InputError(f"{file}, claim {number} must name figures, e.g. `energy_kwh: 449000`.")
    row = {name: _number(name, value) for name, value in row.items()}
    known = [field.name for field in dataclasses.fields(Claim)]
    for name, value in row.items():
        if name not in known:
            raise InputError(
                f"{file}, claim {number}: there is no figure {name!r}."
                f"{did_you_mean(str(name), known)} The figures are {', '.join(known)}."
            )
        number_is = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if name not in _TEXTS and not number_is:
            raise InputError(
                f"{file}, claim {number}: {name} is {value!r}, but should be a number of 0 or more."
            )
    return Claim(**{"name": f"claim {number}", **row})
