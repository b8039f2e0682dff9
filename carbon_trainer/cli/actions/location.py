"""Where runs and their ledger are, by the flags of a command."""

from __future__ import annotations

from pathlib import Path

from carbon_trainer.ledger.location import RUNS_DIR, location_of
from carbon_trainer.ledger.store import Ledger


def open_ledger(ledger: str | None, runs_dir: str | None, *, upgrade: bool = False) -> Ledger:
    """Open the ledger that the flags name, for reading.

    Raises:
        LedgerError: if there is none.
    """
    folder = runs_folder(runs_dir)
    return Ledger.open(location_of(ledger, folder), create=False, upgrade=upgrade)


def runs_folder(runs_dir: str | None) -> Path:
    """Return the folder of runs: the flag's, or the one that runs are put in by default."""
    return Path(runs_dir or RUNS_DIR)
