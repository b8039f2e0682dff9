"""The writer takes facts at once and gets them onto the disk, whatever the disk does."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.recover import recover
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.ledger.writer import LedgerWriter
from tests.ledger.records import opened, progress


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.sqlite")


def _writer(ledger: Ledger, tmp_path: Path) -> LedgerWriter:
    return LedgerWriter(ledger, "r", clock=VirtualClock(7), spare_dir=tmp_path, flush_s=60)


def _fill_the_disk(ledger: Ledger) -> None:
    """Allow the database not one page more, as a full disk does."""
    with ledger._engine.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")


def test_facts_are_written_in_order_with_the_time_they_were_given(
    ledger: Ledger, tmp_path: Path
) -> None:
    writer = _writer(ledger, tmp_path)
    writer.put(opened(), progress(1))
    assert writer.close() is None
    assert [(f.kind, f.time_ns) for f in ledger.facts("r")] == [("run_opened", 7), ("progress", 7)]
    assert writer.head == ledger.head("r")


def test_a_second_writer_goes_on_with_the_chain(ledger: Ledger, tmp_path: Path) -> None:
    for step in (1, 2):
        writer = _writer(ledger, tmp_path)
        writer.put(progress(step))
        writer.close()
    assert verify(ledger, "r").ok
    assert verify(ledger, "r").records == 2


def test_the_thread_writes_by_itself(ledger: Ledger, tmp_path: Path) -> None:
    writer = LedgerWriter(ledger, "r", flush_s=0.01)
    writer.put(opened())
    for _ in range(6000):
        if ledger.head("r").seq:
            break
        time.sleep(0.01)
    assert ledger.head("r").seq == 1
    writer.close()


def test_a_locked_database_is_waited_out_and_nothing_is_lost(
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("carbon_trainer.ledger.engine.LOCK_WAIT_S", 0.01)
    quick = Ledger.open(tmp_path / "ledger.sqlite")
    writer = _writer(quick, tmp_path)
    lock = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    writer.put(opened())
    with caplog.at_level(logging.WARNING):
        assert not writer.flush()
        assert not writer.flush()
    assert len([r for r in caplog.records if "cannot be written now" in r.message]) == 1
    lock.execute("COMMIT")
    lock.close()
    assert writer.flush()
    assert writer.close() is None
    assert verify(ledger, "r").records == 1


@pytest.mark.slow
def test_a_full_disk_keeps_the_rest_in_a_file_that_can_be_put_back(
    ledger: Ledger, tmp_path: Path
) -> None:
    writer = _writer(ledger, tmp_path)
    writer.put(opened())
    assert writer.flush()
    _fill_the_disk(ledger)
    writer.put(*(progress(step) for step in range(2000)))
    path = writer.close()
    assert path == tmp_path / "unwritten-r.jsonl"
    ledger.close()
    roomy = Ledger.open(tmp_path / "ledger.sqlite")
    assert recover(roomy, path) == ("r", 2000)
    assert verify(roomy, "r").records == 2001
    assert not path.exists()


def test_a_file_that_is_not_of_unwritten_records_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a file of unwritten records"):
        recover(ledger, tmp_path / "nothing.jsonl")
    broken = tmp_path / "unwritten-r.jsonl"
    broken.write_text("{}\n")
    with pytest.raises(InputError, match="line 1 is not a record"):
        recover(ledger, broken)
    assert ledger.head("r") == ChainHead()
