"""Data of accelerator boards: dense peak, power limit, embodied emissions."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SHORT_LIFE_YEARS = 3.0
LONG_LIFE_YEARS = 6.0
"""How long a board is used, assumed: between these two."""

SECONDS_PER_YEAR = 365.25 * 86_400


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A board by its datasheet and by studies; see ``accelerators.csv`` for sources.

    Attributes:
        name: its name.
        pattern: its name in NVML or AMD SMI, a regular expression.
        tdp_w: its power limit by the datasheet, watts.
        peak_bf16_tflops: dense, not sparse.
        embodied_kgco2e: the lowest and highest estimate of the emissions of making it.
        sources: of the two.
    """

    name: str
    pattern: str
    tdp_w: float
    peak_bf16_tflops: float
    embodied_kgco2e: tuple[float, float] | None
    sources: tuple[str, str]


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """Return all boards in the table."""
    text = files("carbon_trainer.hardware").joinpath("accelerators.csv").read_text("utf-8")
    return tuple(_accelerator(row) for row in csv.DictReader(text.splitlines()))


def accelerator_of(label: str) -> Accelerator | None:
    """Return the board of that name; None where it is not in the table."""
    end = "(?![0-9A-Za-z])"  # a T400 is not a T4
    matches = (board for board in accelerators() if re.match(board.pattern + end, label))
    # Several may match; the longest pattern is the most specific.
    return max(matches, key=lambda board: len(board.pattern), default=None)


def _accelerator(row: dict[str, str]) -> Accelerator:
    low, high = row["embodied_low_kgco2e"], row["embodied_high_kgco2e"]
    return Accelerator(
        name=row["name"],
        pattern=row["nvml_name_pattern"],
        tdp_w=float(row["tdp_w"]),
        peak_bf16_tflops=float(row["peak_bf16_tflops_dense"]),
        embodied_kgco2e=(float(low), float(high)) if low and high else None,
        sources=(row["low_source"], row["high_source"]),
    )
