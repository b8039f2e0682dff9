"""A ledger of several runs that differ in all that a portfolio tells apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from carbon_trainer.ledger.facts import BoundaryStated, Interval, Progress, Resumed, RunClosed
from carbon_trainer.ledger.store import Ledger
from tests.reports import ledgers
from tests.reports.ledgers import FR, GB, GPU, MACHINE, MODEL, OPENED, T0_NS, S

NEW_YEAR_NS = T0_NS + 365 * 86_400 * S
"""2027-01-01, a year after the first run."""


def chain_of(
    ledger: Ledger, run_id: str, start_ns: int, factor=GB, operation: str | None = "own",
    purpose: str | None = None, **opened: str,
) -> ledgers.Chain:  # fmt: skip
    """Open a run at an instant."""
    chain = ledgers.Chain(ledger, run_id)
    chain.now_ns = start_ns
    config = {**ledgers.CONFIG, "purpose": purpose}
    chain.put(dataclasses.replace(OPENED, config=config, **opened), factor, MACHINE, MODEL)
    if operation:
        chain.put(BoundaryStated(operation=operation, organisation="ACME", by="x"))
    return chain


def many(path: Path) -> Ledger:
    """Five runs: final, development, failed, over New Year, and one that is still open."""
    ledger = Ledger.open(path)
    final = chain_of(ledger, "a-final", T0_NS, purpose="final", user="ada", project="p1")
    final.train(120)
    final.close()
    tried = chain_of(
        ledger, "b-tried", T0_NS + 40 * 86_400 * S, FR, "cloud", "development", user="bob",
        project="p1",
    )  # fmt: skip
    tried.train(80)
    tried.close()
    failed = chain_of(ledger, "c-failed", T0_NS + 41 * 86_400 * S, user="bob", project="p2")
    failed.train(40)
    failed.put(Resumed(
        checkpoint="c", step=20, config={}, energy_before_mj=1, lost_mj=5_000_000,
    ))  # fmt: skip
    failed.train(20)
    failed.close("failed", "a bug")
    over = chain_of(ledger, "d-over", NEW_YEAR_NS - 60 * S, operation="colocation", user="ada",
                    project="p2")  # fmt: skip
    over.train(120)
    over.close()
    still = chain_of(ledger, "e-open", NEW_YEAR_NS + 86_400 * S, operation=None, user="",
                     project="p3")  # fmt: skip
    still.put(Interval(
        device=GPU, component="gpu", start_ns=still.now_ns, end_ns=still.now_ns + S,
        energy_mj=300_000, method="measured", sigma_mj=10, phase="train",
    ), Progress(time_ns=still.now_ns + S, step=3, tokens=24, loss=2.0))  # fmt: skip
    return ledger


__all__ = ["NEW_YEAR_NS", "RunClosed", "chain_of", "many"]
