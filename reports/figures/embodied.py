"""The run's share of what making its accelerators has emitted, as a range.

SCI (ISO/IEC 21031:2024), M = TE x TiR / EL x RR / ToR: the boards' embodied emissions by the
time that they were reserved over their lifetime, all of each board. Published figures of one
board differ by a factor of 2.5 to 5, and lifetimes of 3 to 6 years are in use; hence a range.
It is no figure of a GHG inventory, where bought boards count whole in the year of purchase
(scope 3, category 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carbon_trainer.hardware.accelerators import (
    LONG_LIFE_YEARS,
    SECONDS_PER_YEAR,
    SHORT_LIFE_YEARS,
    accelerator_of,
)
from carbon_trainer.reports.figures.figure import ASSUMED, Figure, Input
from carbon_trainer.reports.figures.tallies import Tally
from carbon_trainer.reports.figures.text import duration_text, number_text
from carbon_trainer.reports.record.provenance import Provenance


@dataclass(frozen=True, slots=True)
class _Board:
    name: str
    seconds: float
    low_kg: float
    high_kg: float
    sources: tuple[str, str]


def embodied_figure(provenance: Provenance, by_device: Sequence[Tally]) -> Figure:
    """Return a run's accelerators' embodied share.

    Args:
        provenance: names the boards.
        by_device: for how long the run reserved each.
    """
    labels = {s.device: s.label for s in provenance.sources if s.component == "gpu"}
    reservations = [
        (labels.get(row.name, "") or row.name, row.recorded_s + row.unrecorded_s)
        for row in by_device
        if row.component == "gpu"
    ]
    return embodied_of(reservations)


def embodied_of(reservations: Iterable[tuple[str, float]]) -> Figure:
    """Return the embodied share of boards.

    Args:
        reservations: their names, as NVML has them, and for how many seconds each was reserved.
    """
    key, label, unit = "embodied", "Embodied share of the accelerators", "kgCO2e"
    boards, unknown = _boards(reservations)
    if not boards and not unknown:
        reason = (
            "No accelerator is on record; the rest of the machine has no published figure here."
        )
        return Figure.missing(key, label, unit, reason)
    if unknown:
        reason = f"No figure of making is known here for {', '.join(sorted(unknown))}."
        return Figure.missing(key, label, unit, reason)
    low = math.fsum(b.low_kg * b.seconds / (LONG_LIFE_YEARS * SECONDS_PER_YEAR) for b in boards)
    high = math.fsum(b.high_kg * b.seconds / (SHORT_LIFE_YEARS * SECONDS_PER_YEAR) for b in boards)
    terms = "; ".join(dict.fromkeys(_term(board) for board in boards))
    return Figure(
        key=key, label=label, value=(low + high) / 2, unit=unit, method=ASSUMED,
        # A rectangular distribution over the range (GUM, JCGM 100:2008, 4.3.7).
        sigma=(high - low) / (2 * math.sqrt(3)),
        basis=f"SCI (ISO/IEC 21031): embodied emissions x time reserved / lifetime, {terms}. "
        f"Lifetime {SHORT_LIFE_YEARS:g} to {LONG_LIFE_YEARS:g} years (assumed). The value is the "
        "middle of the range, its sigma that of an even spread over it. CPU, memory, board and "
        "rack are left out. Not part of scope 2, nor of an inventory's category 2.",
        low=low, high=high,
        formula="sum of embodied x reserved seconds / lifetime",
        inputs=tuple(part for board in boards for part in _inputs(board)),
    )  # fmt: skip


def _boards(reservations: Iterable[tuple[str, float]]) -> tuple[list[_Board], set[str]]:
    """Add up the time of boards of a name; and name those of which nothing is known."""
    seconds: dict[str, float] = {}
    for label, reserved_s in reservations:
        seconds[label] = seconds.get(label, 0.0) + reserved_s
    boards, unknown = [], set()
    for label, reserved_s in seconds.items():
        accelerator = accelerator_of(label)
        if accelerator is None or accelerator.embodied_kgco2e is None:
            unknown.add(label)
        else:
            boards.append(
                _Board(
                    accelerator.name, reserved_s, *accelerator.embodied_kgco2e, accelerator.sources
                )
            )
    return boards, unknown


def _term(board: _Board) -> str:
    return (
        f"{board.name} {number_text(board.low_kg)} kg ({board.sources[0]}) to "
        f"{number_text(board.high_kg)} kg ({board.sources[1]}) for {duration_text(board.seconds)}"
    )


def _inputs(board: _Board) -> tuple[Input, Input, Input]:
    unit = "kgCO2e"
    return (
        Input(name=f"{board.name}, least", value=board.low_kg, unit=unit, source=board.sources[0]),
        Input(name=f"{board.name}, most", value=board.high_kg, unit=unit, source=board.sources[1]),
        Input(name="reserved", value=board.seconds, unit="s"),
    )
