"""The stretches that a run ran in: from its opening, or a resumption, to a close or a kill."""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.ledger.facts import Amendment, Decision, Fact, Progress, Resumed, RunClosed
from carbon_trainer.ledger.state import RECOVERED
from carbon_trainer.reports.record.run_record import RunRecord, Stamped

OPEN = "open"
LOST = "no closing record"
KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of a run.

    Attributes:
        number: from 1.
        start_ns: when its run_opened or resumed was written.
        end_ns: when it wrote its run_closed, else the last thing that is known of it.
        first_step: optimizer steps done when it began.
        last_step: optimizer steps done when it ended; None where nothing tells.
        repeated_steps: steps at its start that an earlier segment had done already.
        lost_mj: energy that earlier segments used for those steps.
        ended: ``finished``, ``budget``, ``interrupted``, ``released``, ``failed``; ``open`` for
            the last one without a close; ``killed`` for one whose last energy a later start has
            booked, and ``no closing record`` for an earlier one without that.
        reason: why it ended.
        energy_mj: booked in it, all devices, before PUE.
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
        within = [item for item in record.facts if start.seq <= item.seq < stop_seq]
        # What a later start has booked was written long after the segment's end.
        booked_ns = min((item.time_ns for item in within if _is_recovery(item)), default=None)
        times = [
            item.time_ns
            for item in within
            if (booked_ns is None or item.time_ns < booked_ns)
            and not isinstance(item.fact, Amendment)
        ]
        known_ns = max([int(last_ends.get(index, 0)), start.time_ns, *times])
        done = max((s.last_step or 0 for s in segments), default=0)
        segments.append(
            _segment(index, start, within, known_ns, done, int(energies.get(index, 0)), is_last)
        )
    return tuple(segments)


def _segment(
    index: int, start: Stamped[Fact], within: list[Stamped[Fact]], known_ns: int, done: int,
    energy_mj: int, is_last: bool,
) -> Segment:  # fmt: skip
    ended, reason, end_ns = OPEN if is_last else LOST, _no_close(is_last), known_ns
    was_killed = False
    for item in within:
        if isinstance(item.fact, Decision) and _is_recovery(item):
            ended, reason, was_killed = KILLED, item.fact.why, True
        if isinstance(item.fact, RunClosed):
            # A later start may have closed it for a process that was killed.
            end_ns = known_ns if was_killed else item.time_ns
            ended, reason = item.fact.status, item.fact.reason
    resumed = start.fact if isinstance(start.fact, Resumed) else None
    first_step = resumed.step if resumed else 0
    return Segment(
        number=index + 1,
        start_ns=start.time_ns,
        end_ns=max(end_ns, start.time_ns),
        first_step=first_step,
        last_step=_last_step(within),
        repeated_steps=max(0, done - first_step),
        lost_mj=resumed.lost_mj if resumed else 0,
        ended=ended,
        reason=reason,
        energy_mj=energy_mj,
        energy_before_mj=resumed.energy_before_mj if resumed else None,
        was_killed=was_killed,
    )


def _is_recovery(item: Stamped[Fact]) -> bool:
    return isinstance(item.fact, Decision) and item.fact.decision == RECOVERED


def _last_step(within: list[Stamped[Fact]]) -> int | None:
    steps = [item.fact.step for item in within if isinstance(item.fact, Progress | RunClosed)]
    return steps[-1] if steps else None


def _no_close(is_last: bool) -> str:
    if is_last:
        return "still running, or ended without a closing record"
    return "the process was gone when the next segment began"
