"""Ledgers of laptops and nodes come together: records as they are, twice is as good as once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger.merge import merge
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.ledger.records import interval, opened, progress
from tests.reports import ledgers


def _with(path: Path, run_id: str, seconds: int = 3) -> Ledger:
    ledger = Ledger.open(path)
    facts = [opened(run_id), *(interval(n, 100 + n) for n in range(seconds)), progress(1)]
    ledger.append(run_id, list(enumerate(facts, start=1)), ledger.head(run_id))
    return ledger


def test_runs_arrive_with_their_chains_and_sums(tmp_path: Path) -> None:
    source = ledgers.resumed(tmp_path / "laptop.sqlite")
    target = _with(tmp_path / "all.sqlite", "other")
    (merged,) = merge(source, target)
    assert merged.problem is None
    assert merged.added == source.head(ledgers.RUN).seq
    assert target.head(ledgers.RUN) == source.head(ledgers.RUN)
    assert verify(target, ledgers.RUN).ok
    assert target.stored_sums(ledgers.RUN) == source.stored_sums(ledgers.RUN)
    assert target.run_ids() == ["other", ledgers.RUN]


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    source, target = _with(tmp_path / "a.sqlite", "r"), Ledger.open(tmp_path / "all.sqlite")
    merge(source, target)
    assert [run.added for run in merge(source, target)] == [0]
    assert target.energy_mj("r") == source.energy_mj("r")


def test_a_run_that_went_on_is_continued(tmp_path: Path) -> None:
    source, target = _with(tmp_path / "a.sqlite", "r"), Ledger.open(tmp_path / "all.sqlite")
    merge(source, target)
    source.append("r", [(9, interval(7, 5)), (10, progress(2))], source.head("r"))
    assert [run.added for run in merge(source, target)] == [2]
    assert verify(target, "r").ok
    # And back: the older ledger is a beginning of the newer one.
    assert [run.added for run in merge(target, source)] == [0]


def test_the_same_run_with_different_facts_is_named_and_left_alone(tmp_path: Path) -> None:
    source, target = _with(tmp_path / "a.sqlite", "r"), Ledger.open(tmp_path / "b.sqlite")
    target.append(
        "r", [(1, opened("r")), (2, interval(0, 999)), (3, progress(1))], target.head("r")
    )
    before = target.head("r")
    (merged,) = merge(source, target)
    assert merged.problem is not None
    assert "different facts, from record 2 on" in merged.problem
    assert target.head("r") == before


def test_a_broken_run_is_named_and_the_others_are_brought(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    _with(path, "good").close()
    source = _with(path, "broken")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE intervals SET energy_mj=1 WHERE run_id='broken' AND seq=2")
    target = Ledger.open(tmp_path / "all.sqlite")
    found = {run.run_id: run for run in merge(source, target)}
    assert "record 2 (interval) is not what was written" in str(found["broken"].problem)
    assert found["good"].problem is None
    assert target.run_ids() == ["good"]


def test_a_ledger_is_not_merged_into_itself(tmp_path: Path) -> None:
    ledger = _with(tmp_path / "a.sqlite", "r")
    with pytest.raises(LedgerError, match="into itself"):
        merge(ledger, ledger)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_however_often_and_in_which_parts_the_end_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, parts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    source, target = _with(folder / "a.sqlite", "r"), Ledger.open(folder / "all.sqlite")
    for part in parts:
        more = [(20 + n, interval(n, n)) for n in range(part)]
        source.append("r", more, source.head("r"))
        merge(source, target)
    assert target.head("r") == source.head("r")
    assert target.stored_sums("r").keys() == source.stored_sums("r").keys()
    assert verify(target, "r").ok
