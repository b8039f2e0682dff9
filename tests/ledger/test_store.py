"""The ledger opens, appends, reads, and says plainly what it cannot."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from carbon_trainer.errors import InputError, LedgerError
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import FACT_KINDS, Interval, Progress, RunClosed
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger
from tests.ledger.records import interval, opened, progress


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.sqlite")


def test_what_was_appended_is_read_back_in_order(ledger: Ledger) -> None:
    ledger.append("r", [(1, opened()), (2, progress(1)), (3, progress(2))], ChainHead())
    facts = ledger.facts("r")
    assert [(f.seq, f.time_ns, f.kind) for f in facts] == [
        (1, 1, "run_opened"), (2, 2, "progress"), (3, 3, "progress"),
    ]  # fmt: skip
    assert facts[2].fact() == progress(2)


def test_intervals_are_read_as_a_table_and_summed_by_the_database(ledger: Ledger) -> None:
    ledger.append("r", [(1, opened()), (2, interval(0, 700)), (3, interval(1, 41))], ChainHead())
    assert list(ledger.intervals("r")["energy_mj"]) == [700, 41]
    assert ledger.energy_mj("r") == 741
    assert [f.kind for f in ledger.facts("r")] == ["run_opened"]


def test_facts_of_one_kind_can_be_asked_for(ledger: Ledger) -> None:
    ledger.append("r", [(1, opened()), (2, progress(1))], ChainHead())
    assert [f.kind for f in ledger.facts("r", Progress)] == ["progress"]


def test_a_chain_goes_on_from_its_head(ledger: Ledger) -> None:
    head = ledger.append("r", [(1, opened())], ChainHead())
    assert ledger.head("r") == head
    assert ledger.append("r", [(2, progress(1))], head).seq == 2


def test_two_writers_cannot_both_follow_the_same_head(ledger: Ledger) -> None:
    head = ledger.append("r", [(1, opened())], ChainHead())
    ledger.append("r", [(2, progress(1))], head)
    with pytest.raises(DBAPIError):
        ledger.append("r", [(2, progress(9))], head)
    assert [f.body.get("step") for f in ledger.facts("r")] == [None, 1]


def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger) -> None:
    head = ledger.append("r", [(1, opened()), (2, interval(0, 5))], ChainHead())
    with pytest.raises(DBAPIError):
        ledger.append("r", [(3, interval(1, 5)), (4, progress(1))], ChainHead(1, head.sha256))
    assert ledger.head("r") == head


def test_runs_are_listed_oldest_first_and_found_by_their_beginning(ledger: Ledger) -> None:
    ledger.append("b-old", [(1, opened())], ChainHead())
    ledger.append("a-new", [(2, opened())], ChainHead())
    assert ledger.run_ids() == ["b-old", "a-new"]
    assert ledger.resolve("last") == "a-new"
    assert ledger.resolve("b-") == "b-old"


def test_an_unknown_or_ambiguous_run_is_an_input_error(ledger: Ledger) -> None:
    ledger.append("run-1", [(1, opened())], ChainHead())
    ledger.append("run-2", [(2, opened())], ChainHead())
    with pytest.raises(InputError, match="may mean 2 runs"):
        ledger.resolve("run")
    with pytest.raises(InputError, match="no run 'x'"):
        ledger.resolve("x")


def test_a_ledger_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger at"):
        Ledger.open(tmp_path / "none.sqlite", create=False)


def test_a_ledger_from_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ledger_meta SET value='99' WHERE key='schema_version'")
    with pytest.raises(LedgerError, match=r"newer carbon-trainer.*upgrade"):
        Ledger.open(path)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and long enough to be read as one " * 20)
    with pytest.raises(LedgerError, match="cannot use the ledger"):
        Ledger.open(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(LedgerError, match="not a carbon-trainer ledger"):
        Ledger.open(other)


def test_a_folder_or_a_nonsense_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="is a folder"):
        Ledger.open(tmp_path)
    with pytest.raises(LedgerError, match="nosuchdatabase"):
        Ledger.open("nosuchdatabase://somewhere/x")


def test_a_password_is_never_shown() -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger.open("nosuchdatabase://user:secret@somewhere/x")
    assert "secret" not in str(caught.value)


def test_the_ledger_lies_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARBON_TRAINER_LEDGER", raising=False)
    assert location_of(None, tmp_path) == str(tmp_path / "ledger.sqlite")
    monkeypatch.setenv("CARBON_TRAINER_LEDGER", "/elsewhere/l.sqlite")
    assert location_of(None, tmp_path) == "/elsewhere/l.sqlite"
    assert location_of("given.sqlite", tmp_path) == "given.sqlite"


def test_every_kind_of_fact_has_its_own_name() -> None:
    assert len(FACT_KINDS) == 20
    assert FACT_KINDS["interval"] is Interval
    assert FACT_KINDS["run_closed"] is RunClosed


@pytest.mark.slow
@given(st.lists(st.integers(0, 2**62), max_size=20))
def test_energy_is_kept_exactly(tmp_path_factory: pytest.TempPathFactory, parts: list[int]) -> None:
    ledger = Ledger.open(tmp_path_factory.mktemp("l") / "ledger.sqlite")
    facts = [(n, interval(n, mj // max(1, len(parts)))) for n, mj in enumerate(parts)]
    ledger.append("r", facts, ChainHead())
    assert ledger.energy_mj("r") == sum(mj // max(1, len(parts)) for mj in parts)
    ledger.close()


@pytest.mark.slow
def test_many_processes_may_make_the_same_ledger_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    code = (
        "import sys; from carbon_trainer.ledger.store import Ledger\n"
        "from carbon_trainer.ledger.chain import ChainHead\n"
        "from carbon_trainer.ledger.facts import Decision\n"
        "ledger = Ledger.open(sys.argv[1])\n"
        "ledger.append(sys.argv[2], [(1, Decision(decision='x', why='y'))], ChainHead())\n"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"run-{n}"], stderr=-1)
        for n in range(6)
    ]
    errors = [maker.communicate(timeout=240)[1].decode() for maker in makers]
    assert errors == [""] * 6
    assert len(Ledger.open(path, create=False).run_ids()) == 6


def test_a_read_only_ledger_can_be_read(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append("r", [(1, opened())], ChainHead())
    ledger.close()
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes((tmp_path / "ledger.sqlite").read_bytes())
    copy.chmod(0o444)
    assert Ledger.open(copy, create=False).run_ids() == ["r"]
