"""`verify` finds any record that is not as it was written, and names the first."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.ledger.records import interval, opened, progress

FACTS = [opened(), interval(0, 10), interval(1, 20), progress(1), progress(2), interval(2, 30)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return _filled(tmp_path / "ledger.sqlite")


def _filled(path: Path) -> Path:
    ledger = Ledger.open(path)
    ledger.append("r", [(100 + n, fact) for n, fact in enumerate(FACTS)], ChainHead())
    ledger.close()
    return path


def _tamper(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0


def _problem(path: Path, *anchors: tuple[str, ChainHead]) -> str | None:
    ledger = Ledger.open(path)
    try:
        return verify(ledger, "r", *anchors).problem
    finally:
        ledger.close()


def test_an_untouched_run_is_as_written(path: Path) -> None:
    assert _problem(path) is None


def test_one_changed_byte_in_a_fact_is_found(path: Path) -> None:
    _tamper(path, "UPDATE facts SET body=replace(body, '\"step\":1', '\"step\":3') WHERE seq=4")
    assert "record 4 (progress)" in str(_problem(path))


@pytest.mark.parametrize("column", ["energy_mj", "start_ns", "end_ns", "sigma_mj", "steps"])
def test_one_changed_figure_of_an_interval_is_found(path: Path, column: str) -> None:
    _tamper(path, f"UPDATE intervals SET {column}={column}+1 WHERE seq=3")
    assert "record 3 (interval)" in str(_problem(path))


def test_a_changed_time_or_kind_is_found(path: Path) -> None:
    _tamper(path, "UPDATE facts SET time_ns=time_ns+1 WHERE seq=2")
    assert "record 2" in str(_problem(path))


def test_a_missing_record_is_found(path: Path) -> None:
    _tamper(path, "DELETE FROM facts WHERE seq=4")
    assert _problem(path) == "record 4 is missing."


def test_several_missing_records_are_named(path: Path) -> None:
    _tamper(path, "DELETE FROM facts WHERE seq IN (4, 5)")
    assert _problem(path) == "records 4-5 are missing."


def test_a_missing_interval_row_is_found(path: Path) -> None:
    _tamper(path, "DELETE FROM intervals WHERE seq=3")
    assert "record 3 (interval) has lost its content" in str(_problem(path))


def test_a_swapped_pair_is_found(path: Path) -> None:
    _tamper(
        path,
        "UPDATE facts SET seq=-4 WHERE seq=4",
        "UPDATE facts SET seq=4 WHERE seq=5",
        "UPDATE facts SET seq=5 WHERE seq=-4",
    )
    assert "record 4 (progress) is not what was written" in str(_problem(path))


def test_an_added_interval_is_found(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO intervals SELECT run_id, 77, device, component, start_ns, end_ns, "
            "energy_mj, method, sigma_mj, phase, steps, tokens FROM intervals WHERE seq=2"
        )
    assert "interval 77 belongs to no record" in str(_problem(path))


def test_a_record_moved_to_another_run_is_found(path: Path) -> None:
    _tamper(path, "UPDATE facts SET run_id='s' WHERE seq=1")
    ledger = Ledger.open(path)
    assert "record 1" in str(verify(ledger, "s").problem)
    ledger.close()


def test_a_cut_off_end_is_found_with_the_head_that_a_report_knows(path: Path) -> None:
    ledger = Ledger.open(path)
    head = ledger.head("r")
    ledger.close()
    assert _problem(path, ("report.json", head)) is None
    _tamper(path, "DELETE FROM intervals WHERE seq=6", "DELETE FROM facts WHERE seq=6")
    assert _problem(path) == (
        "the ledger's sum of GPU-1, train, measured is 60 mJ, but its intervals add up to 30 mJ."
    )
    right = "intervals=2, energy_mj=30, variance_mj2=2, duration_ns=2000000000"
    _tamper(path, f"UPDATE sums SET {right}")
    assert _problem(path) is None
    assert _problem(path, ("report.json", head)) == (
        "records after 5 are missing: report.json names record 6."
    )


def test_a_rewritten_chain_is_found_with_the_head_that_a_report_knows(path: Path) -> None:
    head = ChainHead(6, "0" * 63 + "1")
    assert "record 6 is not the one that report.json names" in str(
        _problem(path, ("report.json", head))
    )


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data())
def test_any_one_changed_character_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = _filled(tmp_path_factory.mktemp("l") / "ledger.sqlite")
    seq = data.draw(st.sampled_from([1, 4, 5]))
    with sqlite3.connect(path) as connection:
        (body,) = connection.execute("SELECT body FROM facts WHERE seq=?", (seq,)).fetchone()
        at = data.draw(st.integers(0, len(body) - 1))
        new = data.draw(st.characters(codec="ascii").filter(lambda c: c != body[at]))
        changed = body[:at] + new + body[at + 1 :]
        connection.execute("UPDATE facts SET body=? WHERE seq=?", (changed, seq))
    assert f"record {seq} " in str(_problem(path))
