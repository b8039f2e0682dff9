"""Time and energy of communication between ranks, from the steps that were profiled."""

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
from carbon_trainer.reports.record.run_record import Record, RunRecord
from carbon_trainer.reports.record.segments import Segment
from carbon_trainer.units import J_PER_KWH, kwh_from_mj

TRAINING = "train"
"""The phase that steps are recorded under."""


@dataclass(frozen=True, slots=True)
class Communication:
    """Communication between ranks.

    Attributes:
        share: the mean share of a step's time in which ranks communicated.
        exposed: the mean share in which they did nothing else.
        energy: of exposed communication, in the segments in which steps were profiled.
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
    """Return what a run spent on communication; None where no step was profiled."""
    samples = record.facts_of(CommunicationSampled)
    if not samples:
        return None
    share = _share(
        "communication-share", "Communication's share of step time", samples,
        "communication_ns", "in which ranks communicated, hidden behind work or not",
    )  # fmt: skip
    exposed = _share(
        "communication-exposed-share", "Exposed communication's share of step time", samples,
        "exposed_ns", "in which ranks communicated and rank 0 did no work of the step meanwhile",
    )  # fmt: skip
    sampled_segments = _segments_of(record, samples)
    energy = _energy(
        exposed, [c for c in cells if c.phase == TRAINING and c.segment in sampled_segments]
    )
    steps = sum(
        (segment.last_step or segment.first_step) - segment.first_step
        for segment in segments
        if segment.number - 1 in sampled_segments
    )
    return Communication(share, exposed, energy, _per_step(energy, steps))


def _segments_of(record: RunRecord, samples: Sequence[Record[CommunicationSampled]]) -> set[int]:
    starts = [start.seq for start in record.starts]
    return {max(0, sum(seq <= item.seq for seq in starts) - 1) for item in samples}


def _share(
    key: str,
    label: str,
    samples: Sequence[Record[CommunicationSampled]],
    field: str,
    description: str,
) -> Figure:
    shares = [100 * getattr(item.fact, field) / item.fact.step_ns for item in samples]
    backends = ", ".join(dict.fromkeys(item.fact.backend for item in samples))
    count = count_text(len(samples), "profiled step")
    return Figure(
        key=key, label=label, value=math.fsum(shares) / len(shares), unit="%", method=MEASURED,
        # A type A uncertainty of a mean (GUM, JCGM 100:2008, 4.2.3); one value has none.
        sigma=statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else None,
        basis=f"Mean over {count} of the share of its time {description}, by a profile on rank 0 "
        f"({backends}): from {number_text(min(shares))} to {number_text(max(shares))} %. A wait "
        "for a slower rank counts as communication. Uncertainty: the standard error of the mean.",
        formula=f"100 x mean of {field} / step_ns",
        inputs=tuple(
            Input(
                name=f"step {item.fact.step}", value=share, unit="%", method=MEASURED,
                record=item.seq,
            )
            for item, share in zip(samples, shares, strict=True)
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
        "segments in which steps were profiled. Power is assumed to be the same throughout a step, "
        "and rank 0 to be like the others; neither has an uncertainty here. It is part of the "
        "energy of the machines.",
        formula="exposed share / 100 x energy of training",
        inputs=(
            Input.from_figure(exposed),
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
        inputs=(Input.from_figure(energy), Input(name="steps", value=steps, unit="steps")),
    )  # fmt: skip
