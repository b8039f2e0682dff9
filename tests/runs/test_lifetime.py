"""A run is closed however its work ends, and its record says how."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import RunClosed
from carbon_trainer.runs.lifetime import RunStopped, run_recorded
from carbon_trainer.runs.outcome import Outcome, budget_reached
from carbon_trainer.runs.session import RunSession
from carbon_trainer.runs.signals import Interrupts
from tests.simulation.source import ConstantSource


@pytest.fixture
def open_session(tmp_path: Path) -> Callable[[], RunSession]:
    config = RunConfig(runs_dir=tmp_path)
    return lambda: RunSession.open(config, meter=EnergyMeter([ConstantSource(100)]))


def _closed(session: RunSession) -> tuple[str, int, str]:
    (fact,) = session.ledger.facts(session.run_id, RunClosed)
    return fact.body["status"], fact.body["exit_status"], fact.body["reason"]


def test_work_that_comes_to_its_end_has_the_outcome_that_is_given(
    open_session: Callable[[], RunSession],
) -> None:
    done = Outcome("finished", 0, "all is done")
    session, result = run_recorded(
        open_session, lambda session: not session.closed, Interrupts(), finished=done
    )
    assert result is True
    assert session.outcome == done
    assert _closed(session) == ("finished", 0, "all is done")


def test_work_that_stops_says_how(open_session: Callable[[], RunSession]) -> None:
    def stop(_: RunSession) -> None:
        raise RunStopped(budget_reached("the budget is used up"))

    session, result = run_recorded(open_session, stop, Interrupts())
    assert result is None
    assert _closed(session) == ("budget", 3, "the budget is used up")


def test_a_signal_ends_the_run_in_the_midst_of_its_work(
    open_session: Callable[[], RunSession],
) -> None:
    def struck(_: RunSession) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the signal was not answered")

    with Interrupts() as interrupts:
        session, _ = run_recorded(open_session, struck, interrupts, when=lambda _: "while at work")
    assert _closed(session) == ("interrupted", 143, "SIGTERM while at work")


def test_a_signal_while_the_run_opens_ends_it_before_its_work_begins(
    open_session: Callable[[], RunSession],
) -> None:
    def struck() -> RunSession:
        os.kill(os.getpid(), signal.SIGTERM)
        return open_session()

    with Interrupts() as interrupts:
        session, _ = run_recorded(struck, lambda _: pytest.fail("it has begun"), interrupts)
    assert _closed(session) == ("interrupted", 143, "SIGTERM")


def test_a_signal_while_the_run_closes_changes_nothing(
    open_session: Callable[[], RunSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    close = RunSession.close

    def struck(*args: Any) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return close(*args)

    monkeypatch.setattr(RunSession, "close", struck)
    with Interrupts() as interrupts:
        session, _ = run_recorded(open_session, lambda _: None, interrupts)
    assert _closed(session)[0] == "finished"


def test_what_the_user_got_wrong_is_recorded_and_passed_on(
    open_session: Callable[[], RunSession],
) -> None:
    sessions = []

    def refuse(session: RunSession) -> None:
        sessions.append(session)
        raise InputError("no such file")

    with pytest.raises(InputError, match="no such file"):
        run_recorded(open_session, refuse, Interrupts())
    assert _closed(sessions[0]) == ("failed", 2, "no such file")


def test_any_other_error_is_a_sentence_and_a_traceback(
    open_session: Callable[[], RunSession],
) -> None:
    def fail(_: RunSession) -> None:
        raise ArithmeticError("a mistake of ours")

    session, _ = run_recorded(open_session, fail, Interrupts())
    status, exit_status, reason = _closed(session)
    assert (status, exit_status) == ("failed", 1)
    assert "ArithmeticError: a mistake of ours" in reason
    assert "a mistake of ours" in (session.run_dir / "traceback.txt").read_text()
