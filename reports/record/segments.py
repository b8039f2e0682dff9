"""The stretches that a run ran in: from its opening, or a resumption, to a close or a kill."""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.ledger.facts import Amendment, Decision, Fact, Progress, Resumed, RunClosed
from carbon_trainer.ledger.state import RECOVERED
from carbon_trainer.reports.record.run_record import Record, RunRecord

OPEN = "open"
LOST = "no closing record"
KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of a run.

    Attributes:
        number: from 1.
        start_ns: when its run_opened or resumed was written.
        end_ns: when it wrote its run_closed, else the last time on record for it.
        first_step: optimizer steps done when it began.
        last_step: optimizer steps done when it ended; None where no record says.
        repeated_steps: steps at its start that an earlier segment had done already.
        lost_mj: energy that earlier segments used for those steps.
        ended: ``finished``, ``budget``, ``interrupted``, ``released``, ``failed``; ``open`` for
            the last one without a close; ``killed`` for one whose last energy a later start has
            recorded, and ``no closing record`` for an earlier one without that.
        reason: why it ended.
        energy_mj: recorded in it, all devices, before PUE.
        energy_before_mj: what the resumption says was used before; None for the first.
        was_killed: whether its process was killed; a later start may have closed it since.
    """

    number: int
    start_ns: int
    end_ns: int
    first_step: int
    last_step: int | None
    repeated_steps: int
    lost_mj: int
    ended: str
    reason: str
    energy_mj: int
    energy_before_mj: int | None
    was_killed: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end_ns - self.start_ns) / 1e9


def segments_of(record: RunRecord) -> tuple[Segment, ...]:
    """Cut a run into its segments by the order of its records."""
    starts = record.starts
    grouped = record.intervals.groupby("segment")
    energies = grouped["energy_mj"].sum().to_dict()
    last_ends = grouped["end_ns"].max().to_dict()
    segments: list[Segment] = []
    for index, start in enumerate(starts):
        is_last = index + 1 == len(starts)
        stop_seq = record.head.seq + 1 if is_last else starts[index + 1].seq
        records = [item for item in record.facts if start.seq <= item.seq < stop_seq]
        # What a later start has recorded was written long after the segment's end.
        recovered_ns = min((item.time_ns for item in records if _is_recovery(item)), default=None)
        times = [
            item.time_ns
            for item in records
            if (recovered_ns is None or item.time_ns < recovered_ns)
            and not isinstance(item.fact, Amendment)
        ]
        last_known_ns = max([int(last_ends.get(index, 0)), start.time_ns, *times])
        steps_before = max((s.last_step or 0 for s in segments), default=0)
        segments.append(
            _segment(
                index,
                start,
                records,
                last_known_ns,
                steps_before,
                int(energies.get(index, 0)),
                is_last,
            )
        )
    return tuple(segments)


def _segment(
    index: int, start: Record[Fact], records: list[Record[Fact]], last_known_ns: int,
    steps_before: int, energy_mj: int, is_last: bool,
) -> Segment:  # fmt: skip
    ended, reason, end_ns = OPEN if is_last else LOST, _no_close(is_last), last_known_ns
    was_killed = False
    for item in records:
        if isinstance(item.fact, Decision) and _is_recovery(item):
            ended, reason, was_killed = KILLED, item.fact.why, True
        if isinstance(item.fact, RunClosed):
            # A later start may have closed it for a process that was killed.
            end_ns = last_known_ns if was_killed else item.time_ns
            ended, reason = item.fact.status, item.fact.reason
    resumed = start.fact if isinstance(start.fact, Resumed) else None
    first_step = resumed.step if resumed else 0
    return Segment(
        number=index + 1,
        start_ns=start.time_ns,
        end_ns=max(end_ns, start.time_ns),
        first_step=first_step,
        last_step=_last_step(records),
        repeated_steps=max(0, steps_before - first_step),
        lost_mj=resumed.lost_mj if resumed else 0,
        ended=ended,
        reason=reason,
        energy_mj=energy_mj,
        energy_before_mj=resumed.energy_before_mj if resumed else None,
        was_killed=was_killed,
    )


def _is_recovery(item: Record[Fact]) -> bool:
    return isinstance(item.fact, Decision) and item.fact.decision == RECOVERED


def _last_step(records: list[Record[Fact]]) -> int | None:
    steps = [item.fact.step for item in records if isinstance(item.fact, Progress | RunClosed)]
    return steps[-1] if steps else None


def _no_close(is_last: bool) -> str:
    if is_last:
        return "still running, or ended without a closing record"
    return "the process was gone when the next segment began"
