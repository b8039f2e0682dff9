"""A ledger of the first schema is brought to the present one, with nothing lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger import schema
from carbon_trainer.ledger.engine import engine_of
from carbon_trainer.ledger.migrate import create, upgrade
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.reports import ledgers

BACK = (
    "DROP TABLE sums", "DROP TABLE alembic_version", "DROP INDEX facts_by_kind_of_run",
    "CREATE INDEX facts_by_kind ON facts (kind, run_id)",
    "UPDATE ledger_meta SET value='1' WHERE key='schema_version'",
)  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger as the first version left it."""
    path = tmp_path / "old.sqlite"
    ledgers.resumed(path).close()
    with sqlite3.connect(path) as connection:
        for statement in BACK:
            connection.execute(statement)
    return path


def test_opening_it_fills_the_sums_as_appending_would_have(old: Path, tmp_path: Path) -> None:
    fresh = ledgers.resumed(tmp_path / "new.sqlite")
    ledger = Ledger.open(old)
    assert verify(ledger, ledgers.RUN).problem is None
    assert ledger.stored_sums(ledgers.RUN).keys() == fresh.stored_sums(ledgers.RUN).keys()


def test_it_has_the_tables_of_a_new_one(old: Path) -> None:
    engine = engine_of(old, create=False, fill=create)
    assert upgrade(engine) == (1, schema.SCHEMA_VERSION)
    assert upgrade(engine) == (schema.SCHEMA_VERSION, schema.SCHEMA_VERSION)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        revision = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        assert revision.scalar_one() == schema.REVISION


def test_an_old_ledger_that_cannot_be_brought_up_to_date_is_said_so(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        connection.execute("CREATE TABLE sums (what TEXT)")
    with pytest.raises(LedgerError, match="cannot use the ledger"):
        Ledger.open(old)


@pytest.mark.slow
def test_several_processes_may_bring_it_up_to_date_at_once(old: Path) -> None:
    code = f"from carbon_trainer.ledger.store import Ledger; Ledger.open({str(old)!r}).close()"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert verify(Ledger.open(old), ledgers.RUN).ok
