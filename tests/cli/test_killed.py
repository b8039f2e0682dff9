"""What a start completes of a run whose process was killed after its last step."""

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


def test_its_record_is_completed_once_and_its_report_is_written(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    point = saved(tmp_path, 20)
    said = complete_killed(config, point)
    assert said == [
        "finished: all steps are done; the process was killed before it had recorded that.",
        f"report: {tmp_path / RUN / 'report.html'}",
    ]
    (closed,) = chain.ledger.facts(RUN, RunClosed)
    assert (closed.body["step"], closed.body["tokens"]) == (20, 20 * 8192)
    assert closed.body["checkpoint"] == point.checkpoint
    assert complete_killed(config, point) == []
    assert chain.ledger.facts(RUN)[-1].seq == closed.seq


def test_what_was_not_recorded_of_the_last_steps_is_a_gap(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    complete_killed(config, saved(tmp_path, 20))
    gaps = [fact.body["what"] for fact in chain.ledger.facts(RUN, Incomplete)]
    assert gaps == ["losses of steps 19 to 20", "validation after the last step"]


def test_what_was_recorded_is_no_gap(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    last = Progress(time_ns=chain.now_ns, step=20, tokens=9, loss=1.0, validation_loss=1.1)
    chain.put(last, KILLED)
    complete_killed(config, saved(tmp_path, 20))
    assert not chain.ledger.facts(RUN, Incomplete)


def test_one_that_may_still_run_is_left_alone(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    point = saved(tmp_path, 20)
    assert complete_killed(config, point) == []
    chain.put(KILLED, Resumed(checkpoint="", step=0, config=STEPS, energy_before_mj=0))
    head = chain.head
    assert complete_killed(config, point) == []
    assert chain.ledger.head(RUN) == head


def test_one_that_has_steps_left_is_not_finished_by_asking_for_fewer(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    assert complete_killed(config, saved(tmp_path, 15)) == []
    assert not chain.ledger.facts(RUN, RunClosed)


def test_one_that_has_a_newer_checkpoint_is_not_finished_by_an_older(
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


def test_a_report_that_was_not_written_in_time_is_written(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.close()
    point = saved(tmp_path, 20)
    head = chain.ledger.head(RUN)
    assert complete_killed(config, point) == [f"report: {tmp_path / RUN / 'report.html'}"]
    assert complete_killed(config, point) == []
    assert chain.ledger.head(RUN) == head


def test_records_that_the_disk_had_refused_are_taken_first(
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


def test_a_ledger_that_refuses_is_named_and_tried_again(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    point = saved(tmp_path, 20)
    said = f"the record of run {RUN} could not be completed \\(disk full\\): give the same command"
    with refusing(tmp_path), pytest.raises(CarbonTrainerError, match=said) as refused:
        complete_killed(config, point)
    assert refused.value.exit_status == 1
    assert len(complete_killed(config, point)) == 2


def test_a_folder_in_which_no_report_can_be_written_is_named(
    config: RunConfig, chain: ledgers.Chain, tmp_path: Path
) -> None:
    chain.put(KILLED)
    point = saved(tmp_path, 20)
    (tmp_path / RUN / "report.html").mkdir()
    said = complete_killed(config, point)
    assert said[1].startswith("no report could be written: ")
    assert len(chain.ledger.facts(RUN, RunClosed)) == 1
