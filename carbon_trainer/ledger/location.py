"""Where a ledger is, and how its place may be shown."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

LEDGER_VARIABLE = "CARBON_TRAINER_LEDGER"
"""The environment variable that says where the ledger is."""

RUNS_DIR = Path("carbon_runs")
"""The folder of runs, where none is named."""


def location_of(ledger: str | None, runs_dir: Path) -> str:
    """Return where the ledger is: as given, else ``CARBON_TRAINER_LEDGER``, else in the folder."""
    return ledger or os.environ.get(LEDGER_VARIABLE) or str(runs_dir / "ledger.sqlite")


def without_password(location: str | Path) -> str:
    """Return a ledger's place as it may be shown and kept: a URL's password replaced by stars."""
    parts = urlsplit(str(location))
    if "://" not in str(location) or parts.password is None:
        return str(location)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()
