"""Profiling steps for communication: between real ranks, and never in the way of training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.distributed.communication_time import STEP, Role, role_of
from carbon_trainer.ledger.facts import CommunicationSampled, Incomplete, Progress
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.runs.session import RunSession
from tests.distributed.test_exchange import train

if TYPE_CHECKING:
    from carbon_trainer.control.communication import CommunicationProfiler

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunSession]:
    from tests.callbacks.training import session

    opened = session(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def profiler(run: RunSession) -> CommunicationProfiler:
    """Profiles steps 9, 19 …"""
    from carbon_trainer.control.communication import CommunicationProfiler

    return CommunicationProfiler(run, 10, 2, "gloo", on_gpu=False)


def work() -> None:
    import torch

    torch.ones(100, 100) @ torch.ones(100, 100)


class OlderEvent:
    """An event of torch 2.11, which does not name its kind."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def __getattr__(self, name: str) -> Any:
        if name == "activity_type":
            raise AttributeError(name)
        return getattr(self._event, name)


def test_events_of_an_older_torch_have_the_same_roles() -> None:
    import torch

    from carbon_trainer.control.communication import _activity

    with torch.profiler.profile() as done, torch.profiler.record_function(STEP):
        work()
    events = list(done.profiler.kineto_results.events())  # type: ignore[union-attr]
    roles = [role_of(one.name(), _activity(OlderEvent(one)), on_gpu=False) for one in events]
    assert Role.STEP in roles
    assert Role.WORK in roles
    assert roles == [role_of(one.name(), _activity(one), on_gpu=False) for one in events]


def facts_of(run: RunSession) -> Ledger:
    run.close()
    return run.ledger


def losses(ledger: Ledger) -> list[float]:
    (run_id,) = ledger.run_ids()
    return [fact.body["loss"] for fact in ledger.facts(run_id, Progress)]


def test_two_ranks_tell_what_they_communicate_and_learn_the_same_bit_for_bit(
    tmp_path: Path,
) -> None:
    ledgers = {
        every: train(
            tmp_path / str(every), [[200.0]], 2, steps=40, pause_s=0.0,
            settings={"communication_every": every, "log_every": 1},
        )
        for every in (0, 10)
    }  # fmt: skip
    assert losses(ledgers[10]) == losses(ledgers[0])
    watched = {
        every: [fact.body for fact in ledger.facts(ledger.run_ids()[0], CommunicationSampled)]
        for every, ledger in ledgers.items()
    }
    assert watched[0] == []
    assert [one["step"] for one in watched[10]] == [9, 19, 29, 39]
    for one in watched[10]:
        assert 0 < one["exposed_ns"] <= one["communication_ns"] < one["step_ns"]


def test_one_rank_profiles_nothing(tmp_path: Path) -> None:
    from carbon_trainer.callbacks import CommunicationShare
    from tests.callbacks.training import TinyModule, loader, session, trainer

    run = session(tmp_path, communication_every=10)
    fitted = trainer(tmp_path, CommunicationShare(session=run), steps=24)
    fitted.fit(TinyModule(), loader(48))
    assert facts_of(run).facts(run.run_id, CommunicationSampled) == []


def test_nothing_is_predicted_from_a_profiled_step(tmp_path: Path) -> None:
    from tests.callbacks.training import TinyModule, loader, session, trainer
    from tests.control.communication_helpers import Profiled

    run = session(tmp_path)
    part = Profiled(session=run)
    trainer(tmp_path, part, steps=24).fit(TinyModule(), loader(48))
    # The first step of all is none either.
    assert part.disturbed == [1, 9, 19]
    found = facts_of(run).facts(run.run_id, CommunicationSampled)
    assert [fact.body["step"] for fact in found] == [9, 19]


def test_a_trainer_with_torchs_profiler_is_known(tmp_path: Path) -> None:
    from carbon_trainer.callbacks.communication import _has_own_profiler
    from tests.callbacks.training import trainer

    assert _has_own_profiler(trainer(tmp_path, profiler="pytorch"))
    assert not _has_own_profiler(trainer(tmp_path, profiler="simple"))


def test_only_every_nth_step_is_profiled(run: RunSession, profiler: CommunicationProfiler) -> None:
    for step in range(1, 31):
        profiler.begin(step)
        work()
        assert profiler.end(step, disturbed=False) == (step % 10 == 9)
    found = facts_of(run).facts(run.run_id, CommunicationSampled)
    assert [fact.body["step"] for fact in found] == [9, 19, 29]
    assert all(fact.body["step_ns"] > 0 == fact.body["communication_ns"] for fact in found)
    assert profiler.metrics()["communication/time_share"] == 0


def test_a_step_with_something_else_in_it_does_not_count(
    run: RunSession, profiler: CommunicationProfiler
) -> None:
    profiler.begin(9)
    assert profiler.end(9, disturbed=True)
    assert profiler.metrics() == {}
    assert facts_of(run).facts(run.run_id, CommunicationSampled) == []


def test_beside_the_users_own_profile_nothing_is_profiled_and_that_is_recorded_once(
    run: RunSession, profiler: CommunicationProfiler
) -> None:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as own:
        for step in (9, 19):
            profiler.begin(step)
            work()
            assert not profiler.end(step, disturbed=False)
    assert any(event.name == "aten::matmul" for event in own.events() or [])
    (said,) = facts_of(run).facts(run.run_id, Incomplete)
    assert said.body["why"] == "another profiler is at work"


def test_what_breaks_in_profiling_ends_profiling_and_nothing_else(
    run: RunSession, profiler: CommunicationProfiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "carbon_trainer.control.communication.communication_time", lambda events: 1 / 0
    )
    for step in (9, 19):
        profiler.begin(step)
        profiler.end(step, disturbed=False)
    assert run.meter_loss is None
    (said,) = facts_of(run).facts(run.run_id, Incomplete)
    assert said.body["why"].startswith("ZeroDivisionError")


def test_a_step_that_an_exception_ends_leaves_no_profile_behind(
    profiler: CommunicationProfiler,
) -> None:
    import torch

    profiler.begin(9)
    assert torch.autograd._profiler_enabled()
    profiler.close()
    assert not torch.autograd._profiler_enabled()
    assert not profiler.end(9, disturbed=False)
