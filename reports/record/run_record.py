"""What the ledger records of one run, read once and up to one record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import (
    Amendment,
    Corrected,
    Fact,
    IntensityUsed,
    MachineDescribed,
    Resumed,
    RunOpened,
)
from carbon_trainer.ledger.store import Ledger

F = TypeVar("F", bound=Fact)
Ints = npt.NDArray[np.int64]

_COLUMNS = (
    "device", "component", "start_ns", "end_ns", "energy_mj", "method", "sigma_mj", "phase",
)  # fmt: skip
"""The fields of intervals that a report is made from."""


@dataclass(frozen=True, slots=True)
class Record(Generic[F]):
    """A fact with its place in the chain and the time at which it was written (ns, UTC)."""

    seq: int
    time_ns: int
    fact: F


@dataclass(frozen=True, slots=True)
class Correction:
    """What a later record has changed in an earlier one.

    Attributes:
        seq: the correcting record.
        time_ns: when it was written.
        of_seq: the corrected record.
        kind: its kind.
        before: the changed fields as they were.
        after: the same fields as they are now.
    """

    seq: int
    time_ns: int
    of_seq: int
    kind: str
    before: dict[str, Any]
    after: dict[str, Any]
    reason: str
    by: str


@dataclass(frozen=True)
class RunRecord:
    """A run's records up to ``head``.

    Attributes:
        run_id: the run.
        head: the last record that was read; later ones do not count.
        facts: all facts but the intervals, in order, each as corrected.
        corrections: what was corrected.
        problem: what a quick check finds wrong with the record; empty where it finds nothing.
        intervals: a row per interval, columns as ``Interval``'s fields and ``segment``,
            ``factor``, ``machine``: the number of the run_opened/resumed, the intensity_used and
            the machine_described in force at its place in the chain. The first also holds before
            itself; -1 where there is none.
    """

    run_id: str
    head: ChainHead
    facts: tuple[Record[Fact], ...]
    intervals: pd.DataFrame
    corrections: tuple[Correction, ...] = ()
    problem: str = ""

    def facts_of(self, kind: type[F]) -> list[Record[F]]:
        """Return the facts of one kind in order."""
        return _of_kind(self.facts, kind)

    def last(self, kind: type[F]) -> F | None:
        """Return the last fact of a kind, or None."""
        facts = self.facts_of(kind)
        return facts[-1].fact if facts else None

    @property
    def starts(self) -> list[Record[Fact]]:
        """The records that begin a segment: run_opened and each resumed."""
        return _starts(self.facts)

    @property
    def last_event_ns(self) -> int:
        """Time of the last event on record (ns, UTC)."""
        ends = self.intervals["end_ns"]
        event_times = (item.time_ns for item in self.facts if not isinstance(item.fact, Amendment))
        last_event = max(event_times, default=0)
        return max(last_event, int(ends.max()) if len(ends) else 0)


def read_run(ledger: Ledger, run_id: str, until: ChainHead | None = None) -> RunRecord:
    """Read a run.

    Args:
        ledger: where it is.
        run_id: its full id.
        until: an earlier head of it; later records then do not count.

    Raises:
        InputError: if the ledger has no such run.
        LedgerError: if a record is from a newer version.
    """
    head = until or ledger.head(run_id)
    if head.seq == 0:
        raise InputError(f"there is no run {run_id!r} in the ledger {ledger.name}.")
    # The head is read first: what a run that is still going on appends meanwhile is left out.
    facts = tuple(
        Record(stored.seq, stored.time_ns, stored.fact())
        for stored in ledger.facts(run_id)
        if stored.seq <= head.seq
    )
    facts, corrections = apply_corrections(facts)
    intervals = ledger.intervals(run_id, _COLUMNS)
    if len(intervals) and int(intervals["seq"].iloc[-1]) > head.seq:
        intervals = intervals[intervals["seq"] <= head.seq].reset_index(drop=True)
    seqs = intervals["seq"].to_numpy(np.int64)
    intervals = intervals.assign(
        segment=_in_force(seqs, _starts(facts)),
        factor=_in_force(seqs, _of_kind(facts, IntensityUsed)),
        machine=_in_force(seqs, _of_kind(facts, MachineDescribed)),
    )
    problem = _missing_records(head, facts, intervals)
    return RunRecord(run_id, head, facts, intervals, corrections, problem)


def _missing_records(head: ChainHead, facts: Sequence[Record[Fact]], frame: pd.DataFrame) -> str:
    """Count missing records, which is cheap; ``verify`` finds every manipulation."""
    missing = head.seq - len(facts) - len(frame)
    if missing > 0:
        return f"{missing:,} of {head.seq:,} records are missing"
    return ""


def apply_corrections(
    facts: Sequence[Record[Fact]],
) -> tuple[tuple[Record[Fact], ...], tuple[Correction, ...]]:
    """Put corrections in place of what they correct, in the order in which they were made."""
    # Each is applied to the record as corrected before, so that a later correction wins.
    by_seq = {item.seq: item for item in facts}
    corrections = []
    for item in facts:
        if isinstance(item.fact, Corrected) and item.fact.of_seq in by_seq:
            target = by_seq[item.fact.of_seq]
            fields = target.fact.body()
            after = {name: value for name, value in item.fact.changes.items() if name in fields}
            replacement = dataclasses.replace(target.fact, **after)
            by_seq[target.seq] = Record(target.seq, target.time_ns, replacement)
            before = {name: fields[name] for name in after}
            corrections.append(
                Correction(
                    item.seq, item.time_ns, target.seq, target.fact.kind, before, after,
                    item.fact.reason, item.fact.by,
                )
            )  # fmt: skip
    return tuple(by_seq[item.seq] for item in facts), tuple(corrections)


def _of_kind(facts: Sequence[Record[Fact]], kind: type[F]) -> list[Record[F]]:
    return [
        Record(item.seq, item.time_ns, item.fact) for item in facts if isinstance(item.fact, kind)
    ]


def _starts(facts: Sequence[Record[Fact]]) -> list[Record[Fact]]:
    return [item for item in facts if isinstance(item.fact, RunOpened | Resumed)]


def _in_force(seqs: Ints, facts: Sequence[Record[F]]) -> Ints:
    if not facts:
        return np.full(len(seqs), -1, dtype=np.int64)
    # Which record is in force is a matter of the chain's order: times of a run that was resumed on
    # another machine, or after a clock was set back, need not rise.
    positions = np.searchsorted(np.array([fact.seq for fact in facts]), seqs, side="right") - 1
    return np.maximum(positions, 0).astype(np.int64)
