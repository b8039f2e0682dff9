"""What happened in a run besides work, and what its record lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from carbon_trainer.ledger.facts import (
    Decision,
    Fact,
    Incomplete,
    IntensityUsed,
    Interruption,
    Resumed,
    RunClosed,
    RunOpened,
)
from carbon_trainer.reports.figures.tallies import Tally, unknown_seconds
from carbon_trainer.reports.figures.text import duration_text, number_text
from carbon_trainer.reports.record.run_record import RunRecord
from carbon_trainer.reports.record.segments import LOST, Segment
from carbon_trainer.units import kwh_from_mj

CONSIDERABLE_GAP = 0.01
"""Share of a device's time without any interval from which a report speaks of it up front."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: when (ns, UTC), its place in the chain, its kind and a sentence."""

    time_ns: int
    seq: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class DataGap:
    """Something that the record lacks.

    Attributes:
        what: what is missing.
        why: the reason.
        seq: the record that states it; None where the report found it.
    """

    what: str
    why: str
    seq: int | None = None


def events_of(record: RunRecord) -> tuple[Event, ...]:
    """List decisions, gaps, interruptions and segments' beginnings and ends by time."""
    events = []
    for item in record.facts:
        text = _event_text(item.fact)
        if text is not None:
            events.append(Event(item.time_ns, item.seq, item.fact.kind, text))
    return tuple(sorted(events, key=lambda event: (event.time_ns, event.seq)))


def _event_text(fact: Fact) -> str | None:
    match fact:
        case RunOpened():
            return f"opened by {fact.entry}"
        case Resumed():
            return f"resumed at step {fact.step:,} from {fact.checkpoint}"
        case RunClosed():
            return f"closed at step {fact.step:,}: {fact.status}, {fact.reason}"
        case Decision():
            figures = ", ".join(f"{key}={value}" for key, value in sorted(fact.figures.items()))
            return f"{fact.decision}: {fact.why}" + (f" ({figures})" if figures else "")
        case Incomplete():
            return f"{fact.what}: {fact.why}"
        case Interruption():
            return f"at step {fact.step:,}: {fact.cause}"
    return None


def data_gaps(
    record: RunRecord, segments: Sequence[Segment], total: Tally | None,
    by_device: Sequence[Tally],
) -> tuple[DataGap, ...]:  # fmt: skip
    """List what the record says that it lacks, then what it shows that it lacks."""
    gaps = [DataGap(i.fact.what, i.fact.why, i.seq) for i in record.facts_of(Incomplete)]
    if record.problem:
        gaps.insert(
            0, DataGap("record", f"{record.problem}; `carbon-train runs verify` names them")
        )
    if total is None:
        gaps.append(DataGap("energy", "the ledger has no interval of this run"))
    if not record.facts_of(IntensityUsed):
        gaps.append(DataGap("emissions", "the ledger has no emission factor for this run"))
    return (
        *gaps,
        *(gap for row in by_device for gap in _device_gaps(row)),
        *_segment_gaps(segments),
    )


def _device_gaps(row: Tally) -> list[DataGap]:
    gaps = []
    seconds = unknown_seconds(row)
    if seconds:
        reason = f"unknown for {duration_text(seconds)}, counted as zero: the sum is a lower bound"
        gaps.append(DataGap(f"energy of {row.name}", reason))
    if row.unrecorded_s > CONSIDERABLE_GAP * (row.unrecorded_s + row.recorded_s):
        share = 100 * row.unrecorded_s / (row.unrecorded_s + row.recorded_s)
        reason = f"no interval for {duration_text(row.unrecorded_s)} of the run ({share:.1f} %)"
        gaps.append(DataGap(f"energy of {row.name}", reason))
    if row.sigma_mj is None:
        gaps.append(DataGap(f"uncertainty of {row.name}", "no source of its energy is described"))
    return gaps


def _segment_gaps(segments: Sequence[Segment]) -> list[DataGap]:
    gaps, recorded_mj = [], 0
    for segment in segments:
        before_mj = segment.energy_before_mj or 0
        if before_mj > recorded_mj:
            kwh = number_text(kwh_from_mj(before_mj - recorded_mj))
            reason = (
                f"segment {segment.number} reports {kwh} kWh used before it that this ledger does "
                "not have; they are in no total here"
            )
            gaps.append(DataGap("energy of earlier segments", reason))
        recorded_mj += segment.energy_mj
        if segment.ended == LOST:
            reason = (
                "it ended without a closing record: what it used after its last interval is lost"
            )
            gaps.append(DataGap(f"end of segment {segment.number}", reason))
    return gaps
