"""The runs folder and the ledger that a command's flags name."""

from __future__ import annotations

from pathlib import Path

from carbon_trainer.ledger.location import RUNS_DIR, location_of
from carbon_trainer.ledger.store import Ledger


def open_ledger(ledger: str | None, runs_dir: str | None, *, upgrade: bool = False) -> Ledger:
    """Open the ledger that the flags name.

    Raises:
        LedgerError: if it does not exist.
    """
    folder = runs_folder(runs_dir)
    return Ledger.open(location_of(ledger, folder), create=False, upgrade=upgrade)


def runs_folder(runs_dir: str | None) -> Path:
    """Return the runs folder that the flag names, or the default one."""
    return Path(runs_dir or RUNS_DIR)
