"""What a run's ranks spent on talking to one another, from the steps that were watched."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from carbon_trainer.ledger.facts import CommunicationSampled
from carbon_trainer.reports.figures.figure import (
    ESTIMATED,
    MEASURED,
    Figure,
    Input,
    root_sum_square,
)
from carbon_trainer.reports.figures.tallies import Cell, energy_sigma_mj
from carbon_trainer.reports.figures.text import count_text, number_text
from carbon_trainer.reports.record.run_record import RunRecord, Stamped
from carbon_trainer.reports.record.segments import Segment
from carbon_trainer.units import J_PER_KWH, kwh_from_mj

TRAINING = "train"
"""The phase that steps are booked under."""


@dataclass(frozen=True, slots=True)
class Communication:
    """Communication between ranks.

    Attributes:
        share: the mean share of a step's time in which ranks communicated.
        exposed: the mean share in which they did nothing else.
        energy: of exposed communication, in the segments of which steps were watched.
        per_step: the same energy for one step.
    """

    share: Figure
    exposed: Figure
    energy: Figure
    per_step: Figure

    def figures(self) -> tuple[Figure, ...]:
        """Return all of them."""
        return self.share, self.exposed, self.energy, self.per_step


def communication_of(
    record: RunRecord, cells: Sequence[Cell], segments: Sequence[Segment]
) -> Communication | None:
    """Return what a run spent on communication; None where no step was watched."""
    watched = record.of(CommunicationSampled)
    if not watched:
        return None
    share = _share(
        "communication-share", "Communication's share of step time", watched,
        "communication_ns", "in which ranks communicated, hidden behind work or not",
    )  # fmt: skip
    exposed = _share(
        "communication-exposed-share", "Exposed communication's share of step time", watched,
        "exposed_ns", "in which ranks communicated and rank 0 did no work of the step meanwhile",
    )  # fmt: skip
    among = _segments_of(record, watched)
    energy = _energy(exposed, [c for c in cells if c.phase == TRAINING and c.segment in among])
    steps = sum(
        (segment.last_step or segment.first_step) - segment.first_step
        for segment in segments
        if segment.number - 1 in among
    )
    return Communication(share, exposed, energy, _per_step(energy, steps))


def _segments_of(record: RunRecord, watched: Sequence[Stamped[CommunicationSampled]]) -> set[int]:
    starts = [start.seq for start in record.starts]
    return {max(0, sum(seq <= item.seq for seq in starts) - 1) for item in watched}


def _share(
    key: str, label: str, watched: Sequence[Stamped[CommunicationSampled]], field: str, what: str
) -> Figure:
    shares = [100 * getattr(item.fact, field) / item.fact.step_ns for item in watched]
    backends = ", ".join(dict.fromkeys(item.fact.backend for item in watched))
    count = count_text(len(watched), "watched step")
    return Figure(
        key=key, label=label, value=math.fsum(shares) / len(shares), unit="%", method=MEASURED,
        # A type A uncertainty of a mean (GUM, JCGM 100:2008, 4.2.3); one value has none.
        sigma=statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else None,
        basis=f"Mean over {count} of the share of its time {what}, by a profile on rank 0 "
        f"({backends}): from {number_text(min(shares))} to {number_text(max(shares))} %. A wait "
        "for a slower rank counts as communication. Uncertainty: the standard error of the mean.",
        formula=f"100 x mean of {field} / step_ns",
        inputs=tuple(
            Input(
                name=f"step {item.fact.step}", value=share, unit="%", method=MEASURED,
                record=item.seq,
            )
            for item, share in zip(watched, shares, strict=True)
        ),
    )  # fmt: skip


def _energy(exposed: Figure, cells: Sequence[Cell]) -> Figure:
    key, label = "communication-energy", "Energy of exposed communication"
    if exposed.value is None or not cells:
        return Figure.missing(key, label, "kWh", "The ledger has no interval of training.")
    training_mj = sum(cell.energy_mj for cell in cells)
    training_sigma_mj = energy_sigma_mj(cells)
    share = exposed.value / 100
    parts = (
        None if training_sigma_mj is None else share * training_sigma_mj,
        None if exposed.sigma is None else training_mj * exposed.sigma / 100,
    )
    sigma_mj = root_sum_square(parts)
    return Figure(
        key=key, label=label, value=kwh_from_mj(share * training_mj), unit="kWh",
        method=ESTIMATED, sigma=None if sigma_mj is None else kwh_from_mj(sigma_mj),
        basis="Exposed share of step time x the machines' energy of training, before PUE, in the "
        "segments of which steps were watched. Power is taken as the same in all of a step, and "
        "rank 0 as like the others; neither has an uncertainty here. It is part of the energy of "
        "the machines.",
        formula="exposed share / 100 x energy of training",
        inputs=(
            Input.of(exposed),
            Input(name="energy of training", value=training_mj, unit="mJ"),
        ),
    )  # fmt: skip


def _per_step(energy: Figure, steps: int) -> Figure:
    key, label, unit = "communication-energy-per-step", "Of that, for a step", "J/step"
    if energy.value is None or steps <= 0:
        return Figure.missing(key, label, unit, "There is no energy or no step to divide by.")
    scale = J_PER_KWH / steps
    return Figure(
        key=key, label=label, value=energy.value * scale, unit=unit, method=ESTIMATED,
        sigma=None if energy.sigma is None else energy.sigma * scale,
        basis="Energy of exposed communication over the steps done in the same segments, those "
        "that a later segment did again too.",
        formula="energy of exposed communication / steps",
        inputs=(Input.of(energy), Input(name="steps", value=steps, unit="steps")),
    )  # fmt: skip
