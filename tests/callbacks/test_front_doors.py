"""What one front door can do, all can: every ability of a run, behind every one of them."""

from __future__ import annotations

import logging
import re
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.ledger.facts import CheckpointSaved, Decision, LevelsMeasured, Progress
from carbon_trainer.runs.outcome import Outcome
from carbon_trainer.runs.session import RunSession
from tests.callbacks.front_doors import DOORS, Training
from tests.callbacks.test_schedule import START, write_trace
from tests.simulation.nvml import SimulatedNvml
from tests.simulation.world import RestingClock, WorkingGpu

pytestmark = pytest.mark.slow

STEP_S = 20.0
STEP_J = 640.0 * STEP_S


@dataclass
class World:
    """A simulated machine on which one run is recorded."""

    folder: Path
    clock: RestingClock
    gpu: WorkingGpu
    session: RunSession
    done: int = 0

    def train(self, door: str, steps: int, work: Any = None) -> Outcome | None:
        def one_step(number: int) -> None:
            self.gpu.work(STEP_S)
            if work is not None:
                work(number)

        training = Training(self.folder, self.session, steps, one_step)
        outcome = DOORS[door](training)
        self.done = training.done
        self.gpu.idle()
        return outcome

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return [fact.body for fact in self.session.ledger.facts(self.session.run_id, Decision)]

    def facts(self, kind: Any) -> list[dict[str, Any]]:
        self.session.close()
        return [fact.body for fact in self.session.ledger.facts(self.session.run_id, kind)]


class Worlds:
    """Makes worlds of a test, and closes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[Any] = []

    def make(self, **settings: Any) -> World:
        clock = RestingClock(int(START.timestamp() * 1e9))
        gpu = clock.gpu = WorkingGpu(clock, refresh_s=1.0)
        config = RunConfig(
            runs_dir=self._folder / "runs", trace=write_trace(self._folder / "trace.csv"),
            log_every=5, **settings,
        )  # fmt: skip
        installed = SimulatedNvml(gpu, clock=clock).install()  # type: ignore[arg-type]
        installed.__enter__()
        meter = EnergyMeter(discover_gpus({}, clock), clock=clock)
        session = RunSession.open(config, clock=clock, meter=meter)
        clock.await_sleepers(1)  # the sampler
        self._open.append((session, installed))
        return World(self._folder, clock, gpu, session)

    def close(self) -> None:
        for session, installed in self._open:
            session.close()
            installed.__exit__(None, None, None)


@pytest.fixture
def worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worlds]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Worlds(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_steps_tokens_and_losses_are_recorded(worlds: Worlds, door: str) -> None:
    world = worlds.make()
    world.train(door, 12)
    assert world.session.step == world.done == 12
    assert {1, 5, 10} <= {body["step"] for body in world.facts(Progress)}
    rows = world.session.ledger.intervals(world.session.run_id)
    assert rows["steps"].sum() == 12
    assert rows["energy_mj"].sum() / 1000 == pytest.approx(12 * STEP_J, rel=0.05)


def test_a_budget_ends_training_before_it_is_exceeded_with_a_checkpoint(
    worlds: Worlds, door: str
) -> None:
    budget_kwh = 60.5 * STEP_J / 3.6e6
    world = worlds.make(budget_kwh=budget_kwh)
    outcome = world.train(door, 200)
    assert outcome is not None
    assert (outcome.status, outcome.exit_status) == ("budget", 3)
    assert world.done == 60
    (saved,) = world.facts(CheckpointSaved)
    assert (saved["step"], saved["why"]) == (60, "budget")
    used_kwh = world.session.ledger.energy_mj(world.session.run_id) / 3.6e9
    assert 0.97 * budget_kwh < used_kwh <= budget_kwh


def test_a_budget_that_is_used_up_permits_no_step(worlds: Worlds, door: str) -> None:
    world = worlds.make(budget_kwh=1e-6)
    world.clock.advance(10.0)  # before the first step, as a model is loaded
    outcome = world.train(door, 20)
    assert outcome is not None
    assert outcome.status == "budget"
    assert world.done == 0


def test_a_lost_meter_ends_training_where_that_is_asked_for(worlds: Worlds, door: str) -> None:
    world = worlds.make(budget_kwh=100, on_meter_loss="stop")

    def lose(step: int) -> None:
        if step == 4:
            world.session.meter_loss = "the device is gone"

    outcome = world.train(door, 20, lose)
    assert outcome is not None
    assert "energy can no longer be known" in outcome.reason
    assert world.done == 4


def test_a_deadline_is_kept_by_a_plan_that_pauses_and_throttles(worlds: Worlds, door: str) -> None:
    world = worlds.make(deadline="8h")
    begin_ns = world.clock.now_ns()
    outcome = world.train(door, 360)  # two hours at full speed
    assert outcome is None or outcome.status == "finished"
    assert world.done == 360
    assert world.clock.now_ns() <= begin_ns + 8 * 3600 * 10**9
    assert len(world.facts(LevelsMeasured)) == 1
    (plan,) = [body["figures"] for body in world.decisions if body["decision"] == "plan"]
    assert plan["planned_kgco2e"] < 0.75 * plan["at_once_kgco2e"]
    assert any(body["decision"] == "pause" for body in world.decisions)
    assert any("from here on" in body["why"] for body in world.decisions)
    rows = world.session.ledger.intervals(world.session.run_id)
    assert rows[rows["phase"] == "pause"]["energy_mj"].sum() > 0
    assert world.gpu.limit_mw == 700_000


def test_a_run_is_released_until_the_grid_is_cleaner(worlds: Worlds, door: str) -> None:
    world = worlds.make(deadline="20h", release="yes")
    outcome = world.train(door, 360)
    assert outcome is not None
    assert (outcome.status, outcome.exit_status) == ("released", 75)
    assert 0 < world.done < 360
    assert (world.session.resume_at_ns() or 0) > world.clock.now_ns()
    (saved,) = world.facts(CheckpointSaved)
    assert (saved["step"], saved["why"]) == (world.done, "released")


def test_a_signal_ends_training_after_the_step_with_a_checkpoint(worlds: Worlds, door: str) -> None:
    world = worlds.make()

    def interrupt(step: int) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    if door == "lightning":
        world.train(door, 20, interrupt)
    else:
        # A script of the user's own: the signal is delivered once the checkpoint is saved.
        with pytest.raises(KeyboardInterrupt):
            world.train(door, 20, interrupt)
    outcome = world.session.outcome
    assert outcome is not None
    assert (outcome.status, outcome.exit_status) == ("interrupted", 130)
    assert outcome.reason == "Ctrl-C after step 3"
    (saved,) = world.facts(CheckpointSaved)
    assert (saved["step"], saved["why"]) == (3, "interrupted")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_live_figures_are_served_while_it_trains(
    worlds: Worlds, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = worlds.make(prometheus_port=0)
    pages: list[str] = []

    def scrape(step: int) -> None:
        if step == 3:
            (url,) = re.findall(r"http://127\.0\.0\.1:\d+/metrics", caplog.text)
            with urllib.request.urlopen(url) as answer:
                pages.append(answer.read().decode())

    with caplog.at_level(logging.INFO, "carbon_trainer"):
        world.train(door, 5, scrape)
    assert world.session.run_id in pages[0]
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+/metrics", caplog.text)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)
