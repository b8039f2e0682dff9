"""Errors for disks that refuse: full, read-only, or with a limit on the size of files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from carbon_trainer.errors import InputError

_REFUSED = (
    "SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY",
)  # fmt: skip
"""Prefixes of the SQLite errors that the disk causes; all others are bugs of ours."""


def cannot_write(path: Path, error: OSError | sqlite3.Error) -> InputError:
    """Return the error for a file that cannot be written; nothing is lost by it."""
    if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
        return InputError(
            f"another preparation is running in {path.parent}: let it finish, or choose another "
            "folder with --to."
        )
    # pyarrow puts the number into an OSError whose text is its own; the system's is shorter.
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else " ".join(str(error).split())
    return InputError(
        f"cannot write {path}: {reason}. Free some space there, or make it writable, then run the "
        "same command again: it continues where it stopped."
    )


class Connection(sqlite3.Connection):
    """A connection that raises an InputError where its disk refuses.

    Attributes:
        path: the database.
    """

    path: Path

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement; as sqlite3 does.

        Raises:
            InputError: if the disk refuses.
        """
        try:
            return super().execute(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._translate(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement many times; as sqlite3 does.

        Raises:
            InputError: if the disk refuses.
        """
        try:
            return super().executemany(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.OperationalError) -> Exception:
        is_refused = error.sqlite_errorname.startswith(_REFUSED)
        return cannot_write(self.path, error) if is_refused else error


def connect(path: Path) -> Connection:
    """Open a database; its folder is created if it does not exist.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, factory=Connection)
    except (OSError, sqlite3.Error) as error:
        raise cannot_write(path, error) from error
    connection.path = path
    return connection
