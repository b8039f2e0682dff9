"""Connections to the two databases that a ledger can be: a SQLite file and PostgreSQL."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger.location import without_password

log = logging.getLogger(__name__)

LOCK_WAIT_S = 5.0

Fill = Callable[[sa.Engine], None]
"""Makes the tables of a new ledger."""


def engine_of(location: str | Path, *, create: bool, fill: Fill) -> sa.Engine:
    """Connect to a ledger's database.

    Args:
        location: a path of a SQLite file, or an SQLAlchemy URL.
        create: make a SQLite file where there is none.
        fill: makes the tables of one that is made.

    Raises:
        LedgerError: if the place cannot be one of a ledger, or is not there.
    """
    text = str(location)
    if "://" not in text:
        return _sqlite_engine(Path(text), create=create, fill=fill)
    try:
        url = make_url(text)
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(Path(url.database or ""), create=create, fill=fill)
        return sa.create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise LedgerError(
            f"cannot use the ledger {without_password(text)}: {error}. Give a file's path, or a "
            "URL like postgresql+psycopg://user@host/database (needs carbon-trainer[postgresql])."
        ) from error


def _sqlite_engine(path: Path, *, create: bool, fill: Fill) -> sa.Engine:
    if path.is_dir():
        raise LedgerError(f"the ledger {path} is a folder: name a file in it.")
    if not path.exists() and not create:
        raise LedgerError(
            f"there is no ledger at {path}: train first with `carbon-train fit`, or say where it "
            "is with --ledger."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"cannot make the ledger's folder {path.parent}: {error.strerror or error}."
        ) from error
    if not path.exists():
        _make_sqlite(path, fill)
    return _connect(path)


def _make_sqlite(path: Path, fill: Fill) -> None:
    """Make a ledger in a temporary folder and move it into place: others may be making it too.

    Raises:
        LedgerError: if the folder cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ledger-") as folder:
            temporary = Path(folder, "ledger.sqlite")
            engine = _connect(temporary)
            fill(engine)
            engine.dispose()
            _rename_if_absent(temporary, path)
    except (OSError, DBAPIError) as error:
        reason = driver_message(error) if isinstance(error, DBAPIError) else error.strerror or error
        raise LedgerError(f"cannot make the ledger {path}: {reason}.") from error


def _rename_if_absent(temporary: Path, path: Path) -> None:
    """Give a file its name unless there is one of that name already."""
    # A link fails where the name exists; a rename would replace another process's ledger.
    try:
        os.link(temporary, path)
    except FileExistsError:
        log.debug("somebody else has made %s", path)
    except OSError:
        # A file system without hard links; two first runs at the same moment are then at risk.
        temporary.rename(path)


def _connect(path: Path) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": LOCK_WAIT_S})
    sa.event.listen(engine, "connect", _set_pragmas)
    # The driver's own transactions are off (_set_pragmas); SQLAlchemy then has to begin them.
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    """Readers and the writer never block one another (WAL); a commit is on the disk (FULL)."""
    # Python's sqlite3 would end a transaction before each CREATE TABLE; ours begin themselves.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # A file that cannot be written works in the mode that it has, which stays with it.
        log.debug("journal mode not set: %s", error)


def driver_message(error: DBAPIError) -> str:
    """Return what the database itself says."""
    return str(error.orig or error).strip().rstrip(".")
