"""A run follows its plan: it is throttled, waits and keeps its deadline, and its books agree."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.grid.csv import read_csv
from carbon_trainer.ledger.facts import Decision, IntensityUsed, LevelsMeasured
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.runs.outcome import RESUME_NOW
from carbon_trainer.runs.session import RunSession
from tests.simulation.nvml import SimulatedNvml
from tests.simulation.world import Inline, WorkingGpu, WorldClock

if TYPE_CHECKING:
    from tests.callbacks.schedule_helpers import Watched, Working

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Day:
    """What came of a day."""

    session: RunSession
    gpu: WorkingGpu
    schedule: Watched
    begin_ns: int
    end_ns: int
    losses: list[float]
    trace: Any

    def true_kgco2e(self, since_ns: int | None = None) -> float:
        """What the GPU truly emitted, from the beginning or an instant on."""
        edges = np.arange(since_ns or self.begin_ns, self.end_ns + 10**10, 10**10)
        edges = np.minimum(edges, self.end_ns)
        return sum(
            self.gpu.true_mj(int(a), int(b)) / 3.6e9 * float(self.trace.at(np.array([a]))[0]) / 1000
            for a, b in itertools.pairwise(edges)
        )  # fmt: skip


def write_trace(path: Path, hours: int = 60) -> Path:
    rows = ["time_utc,gco2e_per_kwh"]
    for hour in range(hours):
        value = 300 - 220 * math.sin(math.pi * ((hour - 6) % 24) / 12)
        rows.append(f"{(START + timedelta(hours=hour)).isoformat()},{value:.1f}")
    path.write_text("\n".join(rows) + "\n")
    return path


def live_a_day(
    tmp_path: Path, *, steps: int, deadline: str | None, schedule: type[Watched] | None = None,
    means: str = "auto", module: type[Working] | None = None, validate_every: int | None = None,
    **settings: Any,
) -> Day:  # fmt: skip
    import torch

    from carbon_trainer.callbacks import EnergyBudget, EnergyMetering, PowerThrottle
    from tests.callbacks.schedule_helpers import IdleInPauses, Watched, Working
    from tests.callbacks.training import loader, trainer, validation_loader

    tmp_path.mkdir(exist_ok=True)
    clock = WorldClock(int(START.timestamp() * 1e9))
    gpu = WorkingGpu(clock, refresh_s=1.0)
    trace = write_trace(tmp_path / "trace.csv")
    config = RunConfig(
        runs_dir=tmp_path / "runs", log_every=100, trace=trace, deadline=deadline, **settings
    )
    with SimulatedNvml(gpu, clock=clock).install():  # type: ignore[arg-type]
        meter = EnergyMeter(discover_gpus({}, clock), clock=clock)
        session = RunSession.open(config, clock=clock, meter=meter)
        clock.await_sleepers(1)  # the sampler
        follower = (schedule or Watched)(session=session, executor=Inline())
        torch.manual_seed(1)
        working = (module or Working)(gpu)
        trainer(
            tmp_path, EnergyMetering(session=session), EnergyBudget(session=session),
            PowerThrottle(session=session, mechanism=means), follower,  # type: ignore[arg-type]
            IdleInPauses(gpu, session), steps=steps,
            **({} if validate_every is None else {"val_check_interval": validate_every}),
        ).fit(working, loader(), validation_loader() if validate_every else None)  # fmt: skip
        gpu.idle()
        end_ns = clock.now_ns()
        session.close()
    begin_ns = int(START.timestamp() * 1e9)
    return Day(session, gpu, follower, begin_ns, end_ns, working.losses, read_csv(trace))


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_day_emits_what_was_planned_and_saves_what_was_planned(tmp_path: Path) -> None:
    steps = 1260  # seven hours at full speed
    day = live_a_day(tmp_path / "planned", steps=steps, deadline="24h")
    now = live_a_day(tmp_path / "now", steps=steps, deadline=None)
    plan = day.schedule.first
    assert plan is not None
    emitted, at_once = day.true_kgco2e(), now.true_kgco2e()
    assert day.session.snapshot().emissions_kgco2e == pytest.approx(emitted, rel=0.005)
    # The plan begins after some minutes of measuring, which are but one percent.
    first_ns = plan.slots[0].start_ns
    since = day.true_kgco2e(first_ns)
    assert since == pytest.approx(plan.emissions_gco2e / 1000, rel=0.02)
    planned_saving = 1 - (emitted - since + plan.emissions_gco2e / 1000) / at_once
    assert planned_saving > 0.3
    assert 1 - emitted / at_once == pytest.approx(planned_saving, abs=0.02)
    assert day.end_ns <= day.begin_ns + 24 * 3600 * 10**9
    assert day.gpu.limit_mw == 700_000
    assert day.losses == now.losses
    day.session.close()
    comparison = run_figures(day.session.ledger, day.session.run_id).plan_comparison
    assert comparison is not None
    assert comparison.planned.value == pytest.approx(plan.emissions_gco2e / 1000)
    assert comparison.actual.value == pytest.approx(since, rel=0.02)
    # The report's saving is since the plan was made, before which some minutes had passed.
    saved = (comparison.saving.value or 0) / (comparison.at_once.value or 1)
    assert saved == pytest.approx(1 - emitted / at_once, abs=0.03)


def test_settings_are_measured_truly_and_written_down(tmp_path: Path) -> None:
    from tests.callbacks.schedule_helpers import STEP_S

    day = live_a_day(tmp_path, steps=60, deadline="24h", max_wait="1s")
    (fact,) = day.session.ledger.facts(day.session.run_id, LevelsMeasured)
    assert fact.body["means"] == "power-limit"
    assert fact.body["idle_w"] == pytest.approx(70, rel=0.1)
    for level in fact.body["levels"]:
        power_w = min(700 * level["share"], 640)
        assert level["power_w"] == pytest.approx(power_w, rel=0.01)
        assert level["steps_per_s"] == pytest.approx((power_w / 640) ** 0.5 / STEP_S, rel=0.01)


def test_what_a_validation_takes_is_not_taken_for_a_settings_speed(tmp_path: Path) -> None:
    from tests.callbacks.schedule_helpers import STEP_S, Validating

    day = live_a_day(
        tmp_path, steps=150, deadline="24h", max_wait="1s", module=Validating, validate_every=9
    )
    (fact,) = day.session.ledger.facts(day.session.run_id, LevelsMeasured)
    for level in fact.body["levels"]:
        power_w = min(700 * level["share"], 640)
        assert level["steps_per_s"] == pytest.approx((power_w / 640) ** 0.5 / STEP_S, rel=0.01)


def test_a_second_run_takes_the_settings_from_the_first(tmp_path: Path) -> None:
    live_a_day(tmp_path, steps=60, deadline="24h", max_wait="1s")
    again = live_a_day(tmp_path, steps=60, deadline="24h", max_wait="1s")
    decisions = [f.body for f in again.session.ledger.facts(again.session.run_id, Decision)]
    assert not any("measure" in one["why"] for one in decisions)
    assert again.session.ledger.facts(again.session.run_id, LevelsMeasured)


def test_emissions_follow_the_intensity_of_each_hour(tmp_path: Path) -> None:
    day = live_a_day(tmp_path, steps=900, deadline=None)
    used = [f.body for f in day.session.ledger.facts(day.session.run_id, IntensityUsed)]
    values = [one["intensity_gco2e_per_kwh"] for one in used]
    assert values[:3] == [520.0, 512.5, 490.5]
    assert len(values) == 6  # five hours and the hour in which it ended
    figures = run_figures(day.session.ledger, day.session.run_id)
    assert figures.emissions.value == pytest.approx(day.true_kgco2e(), rel=0.01)


def test_max_wait_ends_waiting(tmp_path: Path) -> None:
    day = live_a_day(tmp_path, steps=360, deadline="24h", max_wait="1h")
    waited = [f.body["figures"].get("waited_s", 0.0)
              for f in day.session.ledger.facts(day.session.run_id, Decision)]  # fmt: skip
    assert sum(waited) == pytest.approx(3600, rel=0.01)


def test_resume_now_ends_a_wait_and_does_not_wait_again(tmp_path: Path) -> None:
    from tests.callbacks.schedule_helpers import Impatient

    day = live_a_day(tmp_path, steps=360, deadline="24h", schedule=Impatient)
    ended = [f.body for f in day.session.ledger.facts(day.session.run_id, Decision)]
    assert [one["why"] for one in ended if one["decision"] == "resume now"]
    assert not (day.session.run_dir / RESUME_NOW).exists()
    # The wait that it ended would have lasted until the morning.
    assert day.end_ns < day.begin_ns + 4 * 3600 * 10**9


def test_a_budget_of_emissions_holds_while_the_intensity_changes(tmp_path: Path) -> None:
    day = live_a_day(tmp_path, steps=1800, deadline=None, budget_kgco2e=0.5)
    assert day.session.outcome is not None
    assert day.session.outcome.status == "budget"
    assert 0.99 * 0.5 <= day.true_kgco2e() <= 0.5


def test_a_run_may_go_on_after_its_deadline(tmp_path: Path) -> None:
    early = (START - timedelta(hours=1)).isoformat()
    day = live_a_day(tmp_path, steps=60, deadline=early)
    assert day.session.outcome is not None
    assert day.session.outcome.status == "finished"


def test_a_deadline_that_cannot_be_kept_is_said_and_the_run_goes_on(tmp_path: Path) -> None:
    day = live_a_day(tmp_path, steps=360, deadline="1h")
    said = [f.body["why"] for f in day.session.ledger.facts(day.session.run_id, Decision)]
    assert any("to keep the deadline it trains at full power" in why for why in said)
    assert any("has passed" in why for why in said)
    assert not any("no plan could be made" in why for why in said)
    assert day.session.outcome is not None
    assert day.session.outcome.status == "finished"


def test_what_it_does_is_told_on_the_terminal_where_nothing_else_shows_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from carbon_trainer.callbacks import EnergyMetering, PowerThrottle
    from tests.callbacks.training import TinyModule, loader, trainer

    with SimulatedNvml().install():
        throttle = PowerThrottle(0.9, mechanism="duty-cycle")
        metering = EnergyMetering(runs_dir=tmp_path / "runs", host_metering=False)
        trainer(tmp_path, metering, throttle).fit(TinyModule(), loader())
    assert "carbon-trainer: training at 90% duty cycle" in capsys.readouterr().err
