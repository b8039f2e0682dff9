"""What the ledger knows of one run, read once and up to one record."""

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
class Stamped(Generic[F]):
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
        broken: what a quick look shows to be wrong with the record; empty where it shows nothing.
        intervals: a row per interval, columns as ``Interval``'s fields and ``segment``,
            ``factor``, ``machine``: the number of the run_opened/resumed, the intensity_used and
            the machine_described in force at its place in the chain. The first also holds before
            itself; -1 where there is none.
    """

    run_id: str
    head: ChainHead
    facts: tuple[Stamped[Fact], ...]
    intervals: pd.DataFrame
    corrections: tuple[Correction, ...] = ()
    broken: str = ""

    def of(self, kind: type[F]) -> list[Stamped[F]]:
        """Return the facts of one kind in order."""
        return _of(self.facts, kind)

    def last(self, kind: type[F]) -> F | None:
        """Return the last fact of a kind, or None."""
        found = self.of(kind)
        return found[-1].fact if found else None

    @property
    def starts(self) -> list[Stamped[Fact]]:
        """The records that begin a segment: run_opened and each resumed."""
        return _starts(self.facts)

    @property
    def written_ns(self) -> int:
        """When the last thing of which the record knows happened (ns, UTC)."""
        ends = self.intervals["end_ns"]
        lived = (item.time_ns for item in self.facts if not isinstance(item.fact, Amendment))
        last_fact = max(lived, default=0)
        return max(last_fact, int(ends.max()) if len(ends) else 0)


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
        Stamped(stored.seq, stored.time_ns, stored.fact())
        for stored in ledger.facts(run_id)
        if stored.seq <= head.seq
    )
    facts, corrections = corrected(facts)
    frame = ledger.intervals(run_id, _COLUMNS)
    if len(frame) and int(frame["seq"].iloc[-1]) > head.seq:
        frame = frame[frame["seq"] <= head.seq].reset_index(drop=True)
    seqs = frame["seq"].to_numpy(np.int64)
    frame = frame.assign(
        segment=_in_force(seqs, _starts(facts)),
        factor=_in_force(seqs, _of(facts, IntensityUsed)),
        machine=_in_force(seqs, _of(facts, MachineDescribed)),
    )
    broken = _look(head, facts, frame)
    return RunRecord(run_id, head, facts, frame, corrections, broken)


def _look(head: ChainHead, facts: Sequence[Stamped[Fact]], frame: pd.DataFrame) -> str:
    """Look for records that are gone, as far as that is cheap; ``verify`` finds all that is."""
    missing = head.seq - len(facts) - len(frame)
    if missing > 0:
        return f"{missing:,} of {head.seq:,} records are missing"
    return ""


def corrected(
    facts: Sequence[Stamped[Fact]],
) -> tuple[tuple[Stamped[Fact], ...], tuple[Correction, ...]]:
    """Put corrections in place of what they correct, in the order in which they were made."""
    by_seq = {item.seq: item for item in facts}
    done = []
    for item in facts:
        if isinstance(item.fact, Corrected) and item.fact.of_seq in by_seq:
            wrong = by_seq[item.fact.of_seq]
            fields = wrong.fact.body()
            after = {name: value for name, value in item.fact.changes.items() if name in fields}
            right = dataclasses.replace(wrong.fact, **after)
            by_seq[wrong.seq] = Stamped(wrong.seq, wrong.time_ns, right)
            before = {name: fields[name] for name in after}
            done.append(
                Correction(
                    item.seq, item.time_ns, wrong.seq, wrong.fact.kind, before, after,
                    item.fact.reason, item.fact.by,
                )
            )  # fmt: skip
    return tuple(by_seq[item.seq] for item in facts), tuple(done)


def _of(facts: Sequence[Stamped[Fact]], kind: type[F]) -> list[Stamped[F]]:
    return [
        Stamped(item.seq, item.time_ns, item.fact) for item in facts if isinstance(item.fact, kind)
    ]


def _starts(facts: Sequence[Stamped[Fact]]) -> list[Stamped[Fact]]:
    return [item for item in facts if isinstance(item.fact, RunOpened | Resumed)]


def _in_force(seqs: Ints, facts: Sequence[Stamped[F]]) -> Ints:
    if not facts:
        return np.full(len(seqs), -1, dtype=np.int64)
    at = np.searchsorted(np.array([fact.seq for fact in facts]), seqs, side="right") - 1
    return np.maximum(at, 0).astype(np.int64)
