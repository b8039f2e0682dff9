"""A disk that refuses ends a preparation in a sentence, whenever it does; nothing is lost by it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from carbon_trainer.curation.disk import cannot_write, connect
from carbon_trainer.curation.state import FILE, State
from carbon_trainer.errors import InputError
from tests.cli.commands import ROOT, CommandResult
from tests.curation.corpora import prose, write_rows
from tests.warm import WarmProcess

COMMAND = [
    "data", "prepare", "a.jsonl", "--near-duplicates", "0.8", "--shard-mb", "1", "--zone", "GB",
    "--no-host-metering", "--progress", "off",
]  # fmt: skip


LIMITED = """
import resource, sys
from carbon_trainer.cli.main import main
largest = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
main()
"""


def _prepare(folder: Path, to: str, largest: int | None = None) -> CommandResult:
    """Prepare in a process of its own, in which no file may grow beyond some bytes."""
    start = ["-m", "carbon_trainer"] if largest is None else ["-c", LIMITED, str(largest)]
    process = WarmProcess(
        [*start, *COMMAND, "--to", to], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert process.returncode is not None
    return CommandResult(process.returncode, out, err)


def _data(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stem != "datasheet"
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    write_rows(folder / "a.jsonl", [{"text": prose(n, 60)} for n in range(500)])
    whole = _prepare(folder, "whole")
    assert whole.status == 0, whole.err
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("largest", [20_000, 60_000, 150_000, 900_000])
def test_files_that_may_not_grow_end_it_in_a_sentence_and_it_resumes_to_the_same_bytes(
    folder: Path, largest: int
) -> None:
    to = f"out-{largest}"
    ended = _prepare(folder, to, largest)
    messages = [line for line in ended.err.splitlines() if line.startswith("carbon-train: ")]
    assert ended.status == 2, ended.out
    assert len(messages) == 1
    assert f"cannot write {to}/" in messages[0]
    assert messages[0].endswith("run the same command again: it continues where it stopped.")
    assert "traceback" not in (ended.out + ended.err).lower()
    again = _prepare(folder, to)
    assert again.status == 0, again.err
    assert _data(folder / to) == _data(folder / "whole")


@pytest.mark.slow
def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"text": prose(1)}])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".preparing").write_text("")
    ended = _prepare(tmp_path, "out")
    assert ended.status == 2
    assert "cannot write out/.preparing/state.sqlite: " in ended.err
    assert "Traceback" not in ended.err


def test_a_database_that_is_full_fails_any_statement_with_a_sentence(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.sqlite")
    connection.execute("PRAGMA max_page_count = 10")
    connection.execute("CREATE TABLE t (x)")
    with pytest.raises(InputError, match=r"cannot write .*a\.sqlite: database or disk is full"):
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
    with pytest.raises(InputError, match="database or disk is full"):
        connection.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    connection.close()


def test_a_database_that_may_only_be_read_is_named(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.sqlite")
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(InputError, match="attempt to write a readonly database"):
        connection.execute("CREATE TABLE t (x)")
    connection.close()


@pytest.mark.slow
def test_another_preparation_in_the_same_folder_is_named(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(InputError, match=f"another preparation is running in {tmp_path}: let it"):
        State(tmp_path)
    other.close()


def test_a_mistake_of_ours_is_not_taken_for_the_disks(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        connection.execute("SELECT * FROM none_such")
    connection.close()


def test_the_systems_own_words_are_used() -> None:
    error = OSError(27, "Error writing bytes to file. Detail: [errno 27] File too large")
    assert "cannot write part: File too large. Free" in str(cannot_write(Path("part"), error))
