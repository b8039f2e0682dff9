"""Lists the runs of a ledger's file without opening it as a ledger.

Opening brings a file to the present schema and loads SQLAlchemy; a shell that completes a run's id
must do neither.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from carbon_trainer.ledger.facts import RunOpened

BUSY_TIMEOUT_S = 0.2
"""How long a file that is being written is waited for."""


def runs_of_file(path: Path, prefix: str = "") -> dict[str, str]:
    """Return the names of a file's runs by their ids, the newest first.

    Args:
        path: a SQLite ledger.
        prefix: what the ids begin with.

    Returns:
        Nothing where there is no ledger, or it cannot be read now.
    """
    query = (
        "SELECT run_id, body FROM facts WHERE kind = ? AND substr(run_id, 1, ?) = ? "
        "ORDER BY time_ns DESC"
    )
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            rows = connection.execute(query, (RunOpened.kind, len(prefix), prefix))
            return {run_id: str(json.loads(body).get("name", "")) for run_id, body in rows}
    except (sqlite3.Error, OSError, ValueError):
        return {}
