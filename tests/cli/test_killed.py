"""Completing the record of a run whose process was killed after its last step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from carbon_trainer.cli.actions.killed import complete_killed
from carbon_trainer.config import RunConfig
from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.ledger.facts import Decision, Incomplete, Progress, Resumed, RunClosed
from carbon_trainer.ledger.state import RECOVERED
from carbon_trainer.ledger.writer import LedgerWriter
from carbon_trainer.runs.checkpoints import commit, path_of
from carbon_trainer.runs.outcome import ResumePoint
from tests.reports import ledgers
from tests.reports.ledgers import CONFIG, RUN

KILLED = Decision(decision=RECOVERED, why="the process was killed; 300 J are recorded")
STEPS = {**CONFIG, "max_steps": 20, "validate_every": 10}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(runs_dir=tmp_path, ledger=str(tmp_path / "ledger.sqlite"))


@pytest.fixture
def chain(config: RunConfig, tmp_path: Path) -> ledgers.Chain:
    """A run of twenty steps of which eighteen are in its record, and has not been closed."""
    chain = ledgers.described(tmp_path / "ledger.sqlite", config=STEPS)
    chain.train(18)
    return chain


def saved(folder: Path, step: int) -> ResumePoint:
    """Save a checkpoint, and return the point from which it goes on."""
    checkpoints = folder / RUN / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    partial = checkpoints / "step.partial"
    partial.write_text(f"weights of step {step}")
    path = path_of(checkpoints, step)
    commit(partial, path)
    return ResumePoint(RUN, str(path), step, 1000, step * 8192)


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Have the ledger take no records, as on a full disk."""
    full = "CREATE TRIGGER full BEFORE INSERT ON facts BEGIN SELECT RAISE(FAIL, 'disk full'); END"
    _change(folder, full)
    try:
        yield
    finally:
        _change(folder, "DROP TRIGGER full")


def _change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as other:
        other.execute(statement)


def test_the_record_is_completed_once_and_the_report_is_written(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    point = saved(tmp_path, 20)
    message = complete_killed(config, point)
    assert message == [
        "finished: all steps are done; the process was killed before it had recorded that.",
        f"report: {tmp_path / RUN / 'report.html'}",
    ]
    (closed,) = chain.ledger.facts(RUN, RunClosed)
    assert (closed.body["step"], closed.body["tokens"]) == (20, 20 * 8192)
    assert closed.body["checkpoint"] == point.checkpoint
    assert complete_killed(config, point) == []
    assert chain.ledger.facts(RUN)[-1].seq == closed.seq


def test_steps_that_were_not_recorded_are_a_gap(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    complete_killed(config, saved(tmp_path, 20))
    gaps = [fact.body["what"] for fact in chain.ledger.facts(RUN, Incomplete)]
    assert gaps == ["losses of steps 19 to 20", "validation after the last step"]


def test_steps_that_were_recorded_are_not_a_gap(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    last = Progress(time_ns=chain.now_ns, step=20, tokens=9, loss=1.0, validation_loss=1.1)
    chain.put(last, KILLED)
    complete_killed(config, saved(tmp_path, 20))
    assert not chain.ledger.facts(RUN, Incomplete)


def test_a_run_that_may_be_alive_is_left_unchanged(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    point = saved(tmp_path, 20)
    assert complete_killed(config, point) == []
    chain.put(KILLED, Resumed(checkpoint="", step=0, config=STEPS, energy_before_mj=0))
    head = chain.head
    assert complete_killed(config, point) == []
    assert chain.ledger.head(RUN) == head


def test_a_run_with_steps_left_is_not_finished_by_asking_for_fewer(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    assert complete_killed(config, saved(tmp_path, 15)) == []
    assert not chain.ledger.facts(RUN, RunClosed)


def test_a_run_with_a_newer_checkpoint_is_not_finished_by_an_older_one(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    more = Resumed(
        checkpoint="", step=20, config={**STEPS, "max_steps": 40}, energy_before_mj=0
    )  # fmt: skip
    chain.put(KILLED, more, KILLED)
    older = saved(tmp_path, 20)
    saved(tmp_path, 35)
    assert complete_killed(config, older) == []
    assert not chain.ledger.facts(RUN, RunClosed)


def test_a_missing_report_is_written(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.close()
    point = saved(tmp_path, 20)
    head = chain.ledger.head(RUN)
    assert complete_killed(config, point) == [f"report: {tmp_path / RUN / 'report.html'}"]
    assert complete_killed(config, point) == []
    assert chain.ledger.head(RUN) == head


def test_records_that_a_full_disk_had_refused_are_recovered_first(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    point = saved(tmp_path, 20)
    with refusing(tmp_path):
        writer = LedgerWriter(chain.ledger, RUN, spare_dir=tmp_path / RUN)
        writer.put(RunClosed(
            status="finished", exit_status=0, reason="all steps are done", step=20, tokens=1,
            checkpoint=point.checkpoint,
        ))  # fmt: skip
        writer.close()
    assert not chain.ledger.facts(RUN, RunClosed)
    assert complete_killed(config, point) == [f"report: {tmp_path / RUN / 'report.html'}"]
    (closed,) = chain.ledger.facts(RUN, RunClosed)
    assert closed.body["reason"] == "all steps are done"


def test_a_checkpoint_without_its_record_has_nothing_to_complete(
    config: RunConfig, tmp_path: Path
) -> None:
    assert complete_killed(config, saved(tmp_path, 20)) == []
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_ledger_that_refuses_records_is_an_error_and_can_be_retried(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    point = saved(tmp_path, 20)
    message = (
        f"the record of run {RUN} could not be completed \\(disk full\\): run the same command"
    )
    with refusing(tmp_path), pytest.raises(CarbonTrainerError, match=message) as refused:
        complete_killed(config, point)
    assert refused.value.exit_status == 1
    assert len(complete_killed(config, point)) == 2


def test_a_report_that_cannot_be_written_is_reported(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    point = saved(tmp_path, 20)
    (tmp_path / RUN / "report.html").mkdir()
    message = complete_killed(config, point)
    assert message[1].startswith("the report could not be written: ")
    assert len(chain.ledger.facts(RUN, RunClosed)) == 1
