"""A glance into a ledger's file tells its runs, and changes nothing."""

from __future__ import annotations

from pathlib import Path

from carbon_trainer.ledger.facts import RunOpened
from carbon_trainer.ledger.peek import runs_of_file
from carbon_trainer.ledger.store import Ledger


def _ledger(path: Path, *run_ids: str) -> Ledger:
    ledger = Ledger.open(path)
    for number, run_id in enumerate(run_ids):
        opened = RunOpened(name=f"the {run_id}", project="p", config={}, software={})
        ledger.append(run_id, [(number, opened)], ledger.head(run_id))
    return ledger


def test_runs_are_told_with_their_names_the_newest_first(tmp_path: Path) -> None:
    _ledger(tmp_path / "l.sqlite", "a1", "a2", "b1").close()
    assert runs_of_file(tmp_path / "l.sqlite") == {"b1": "the b1", "a2": "the a2", "a1": "the a1"}
    assert list(runs_of_file(tmp_path / "l.sqlite")) == ["b1", "a2", "a1"]
    assert list(runs_of_file(tmp_path / "l.sqlite", "a")) == ["a2", "a1"]


def test_wildcards_in_a_beginning_are_ordinary_letters(tmp_path: Path) -> None:
    _ledger(tmp_path / "l.sqlite", "a1").close()
    assert runs_of_file(tmp_path / "l.sqlite", "%") == {}
    assert runs_of_file(tmp_path / "l.sqlite", "_") == {}


def test_a_ledger_that_a_run_has_open_can_be_looked_into(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path / "l.sqlite", "a1")
    assert list(runs_of_file(tmp_path / "l.sqlite")) == ["a1"]
    ledger.close()


def test_the_file_stays_as_it_was(tmp_path: Path) -> None:
    _ledger(tmp_path / "l.sqlite", "a1").close()
    before = (tmp_path / "l.sqlite").read_bytes()
    runs_of_file(tmp_path / "l.sqlite")
    assert (tmp_path / "l.sqlite").read_bytes() == before


def test_what_is_no_ledger_has_no_runs(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database")
    for name in ("text", "nowhere", "."):
        assert runs_of_file(tmp_path / name) == {}
    assert not (tmp_path / "nowhere").exists()
