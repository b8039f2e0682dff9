"""What the ledger knows of one run, read once and up to one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import Fact, IntensityUsed, MachineDescribed, Resumed, RunOpened
from carbon_trainer.ledger.store import Ledger

F = TypeVar("F", bound=Fact)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stamped(Generic[F]):
    """A fact with its place in the chain and the time at which it was written (ns, UTC)."""

    seq: int
    time_ns: int
    fact: F


@dataclass(frozen=True)
class RunRecord:
    """A run's records up to ``head``.

    Attributes:
        run_id: the run.
        head: the last record that was read; later ones do not count.
        facts: all facts but the intervals, in order.
        intervals: a row per interval, columns as ``Interval``'s fields and ``segment``,
            ``factor``, ``machine``: the number of the run_opened/resumed, the intensity_used and
            the machine_described in force at its place in the chain. The first also holds before
            itself; -1 where there is none.
    """

    run_id: str
    head: ChainHead
    facts: tuple[Stamped[Fact], ...]
    intervals: pd.DataFrame

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
        last_fact = max((item.time_ns for item in self.facts), default=0)
        return max(last_fact, int(ends.max()) if len(ends) else 0)


def read_run(ledger: Ledger, run_id: str) -> RunRecord:
    """Read a run.

    Args:
        ledger: where it is.
        run_id: its full id.

    Raises:
        InputError: if the ledger has no such run.
        LedgerError: if a record is from a newer version.
    """
    head = ledger.head(run_id)
    if head.seq == 0:
        raise InputError(f"there is no run {run_id!r} in the ledger {ledger.name}.")
    # The head is read first: what a run that is still going on appends meanwhile is left out.
    facts = tuple(
        Stamped(stored.seq, stored.time_ns, stored.fact())
        for stored in ledger.facts(run_id)
        if stored.seq <= head.seq
    )
    frame = ledger.intervals(run_id)
    frame = frame[frame["seq"] <= head.seq].reset_index(drop=True)
    seqs = frame["seq"].to_numpy(np.int64)
    frame = frame.assign(
        segment=_in_force(seqs, _starts(facts)),
        factor=_in_force(seqs, _of(facts, IntensityUsed)),
        machine=_in_force(seqs, _of(facts, MachineDescribed)),
    )
    return RunRecord(run_id, head, facts, frame)


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
