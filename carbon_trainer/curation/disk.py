"""What is said where a disk refuses: full, read-only, or a limit on the size of files."""

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
"""What SQLite's errors begin with that are its disk's, not ours."""


def cannot_write(path: Path, error: OSError | sqlite3.Error) -> InputError:
    """Return the error that says that a file cannot be written, and that nothing is lost."""
    if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
        return InputError(
            f"another preparation is at work in {path.parent}: let it end, or choose another "
            "folder with --to."
        )
    number = getattr(error, "errno", None)
    why = os.strerror(number) if number else " ".join(str(error).split())
    return InputError(
        f"cannot write {path}: {why}. Free some space there, or see that it can be written, then "
        "give the same command again: it goes on where it was."
    )


class Connection(sqlite3.Connection):
    """A connection that says in a sentence that its disk refuses.

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
            raise self._told(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement many times; as sqlite3 does.

        Raises:
            InputError: if the disk refuses.
        """
        try:
            return super().executemany(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.OperationalError) -> Exception:
        is_refused = error.sqlite_errorname.startswith(_REFUSED)
        return cannot_write(self.path, error) if is_refused else error


def connect(path: Path) -> Connection:
    """Open a database, whose folder is made if it is not there.

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
