"""Merges runs of one ledger into another: each record as it is, its chain checked on the way."""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger import schema
from carbon_trainer.ledger.facts import Interval
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.sums import Adder, add_sums, in_force_at
from carbon_trainer.ledger.verify import verify

BATCH = 5_000


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The result for one run.

    Attributes:
        run_id: the run.
        added: records that the target did not have.
        problem: why it was left alone; None where it is now as in the source.
    """

    run_id: str
    added: int
    problem: str | None = None


def merge(source: Ledger, target: Ledger) -> list[MergeResult]:
    """Merge all runs of ``source`` into ``target``; a second time, it changes nothing.

    A run whose chain is broken, or whose records in the target differ, is left alone and
    named; the others are merged.

    Raises:
        LedgerError: if both are the same ledger.
    """
    if source.name == target.name:
        raise LedgerError(f"{source.name} cannot be merged into itself.")
    return [_merge_run(source, target, run_id) for run_id in source.run_ids()]


def _merge_run(source: Ledger, target: Ledger, run_id: str) -> MergeResult:
    source_head, target_head = source.head(run_id), target.head(run_id)
    if source_head == target_head:
        return MergeResult(run_id, 0)
    if (
        target_head.seq > source_head.seq
        and target.sha256_at(run_id, source_head.seq) == source_head.sha256
    ):
        return MergeResult(run_id, 0)
    # One hash settles it: it covers every record before it.
    if target_head.seq and source.sha256_at(run_id, target_head.seq) != target_head.sha256:
        seq = _first_difference(source, target, run_id, min(target_head.seq, source_head.seq))
        return MergeResult(
            run_id, 0, f"both ledgers have it with different facts, from record {seq} on: one of "
            "them was changed, or two runs share the id; `carbon-train runs verify` shows which",
        )  # fmt: skip
    verification = verify(source, run_id)
    if verification.problem:
        return MergeResult(
            run_id, 0, f"its chain is broken in {source.name}: {verification.problem}"
        )
    return MergeResult(run_id, _copy(source, target, run_id, target_head.seq))


def _first_difference(source: Ledger, target: Ledger, run_id: str, last: int) -> int:
    """Find by halving the first record whose hash differs: behind it every hash does."""
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        if source.sha256_at(run_id, middle) == target.sha256_at(run_id, middle):
            low = middle + 1
        else:
            high = middle
    return low


def _copy(source: Ledger, target: Ledger, run_id: str, after_seq: int) -> int:
    """Append records with the hashes that they have, all of a run or none."""
    added = 0
    with target.transaction() as connection:
        adder = Adder(run_id, in_force_at(connection, run_id, after_seq))
        for batch in source.row_batches(run_id, after_seq, BATCH):
            intervals = [row["interval"] for row in batch if row["fact"]["kind"] == Interval.kind]
            connection.execute(schema.facts.insert(), [row["fact"] for row in batch])
            if intervals:
                connection.execute(schema.intervals.insert(), intervals)
            for row in batch:
                adder.add(row["fact"]["seq"], row["fact"]["kind"], row["interval"])
            added += len(batch)
        add_sums(connection, adder.sums)
    return added
