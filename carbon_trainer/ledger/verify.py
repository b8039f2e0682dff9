"""Check that a run's records are the ones that were written."""

from __future__ import annotations

import json
from dataclasses import dataclass

from carbon_trainer.ledger.chain import ChainHead, link
from carbon_trainer.ledger.facts import Interval
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.sums import Adder, difference


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found.

    Attributes:
        run_id: the run.
        records: how many records the run has.
        head: the last good head.
        problem: the first thing that is wrong, a sentence; None where all is well.
    """

    run_id: str
    records: int
    head: ChainHead
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every record is as it was written."""
        return self.problem is None


def verify(ledger: Ledger, run_id: str, *anchors: tuple[str, ChainHead]) -> Verification:
    """Recompute a run's chain.

    Args:
        ledger: where the run is.
        run_id: the run.
        anchors: heads that were written down elsewhere, each with the name of that place; the
            chain must pass through them, which is how a cut-off end is noticed.
    """
    head, records, problem = ChainHead(), 0, None
    # Every hash on the way: an anchor may be a head that the run has grown beyond since.
    hashes = {0: head.sha256}
    adder = Adder(run_id)
    for seq, time_ns, kind, body, sha256 in ledger.raw_records(run_id):
        records += 1
        # After the first break no later hash can be right; the rest is only counted.
        if problem is None:
            problem = _record_problem(head, run_id, (seq, time_ns, kind, body, sha256))
            if problem is None:
                head = ChainHead(seq, sha256)
                hashes[seq] = sha256
                adder.add(seq, kind, json.loads(body or "{}") if kind == Interval.kind else {})
    if problem is None:
        problem = (
            _stray_problem(ledger, run_id)
            or _anchor_problem(hashes, anchors)
            or difference(adder.sums, ledger.stored_sums(run_id))
        )
    return Verification(run_id, records, head, problem)


def _record_problem(
    head: ChainHead, run_id: str, record: tuple[int, int, str, str | None, str]
) -> str | None:
    seq, time_ns, kind, body, sha256 = record
    if seq != head.seq + 1:
        missing = head.seq + 1
        span = f"record {missing} is" if seq == missing + 1 else f"records {missing}-{seq - 1} are"
        return f"{span} missing."
    if body is None:
        return f"record {seq} ({kind}) has lost its content."
    if link(head, run_id, time_ns, kind, body).sha256 != sha256:
        return f"record {seq} ({kind}) is not what was written: it was changed, or moved here."
    return None


def _stray_problem(ledger: Ledger, run_id: str) -> str | None:
    seqs = ledger.stray_intervals(run_id)
    return f"interval {seqs[0]} belongs to no record: it was added." if seqs else None


def _anchor_problem(
    hashes: dict[int, str], anchors: tuple[tuple[str, ChainHead], ...]
) -> str | None:
    for source, anchor in anchors:
        if anchor.seq not in hashes:
            last = max(hashes)
            return f"records after {last} are missing: {source} names record {anchor.seq}."
        if hashes[anchor.seq] != anchor.sha256:
            return f"record {anchor.seq} is not the one that {source} names."
    return None
