"""A transformers Trainer follows a plan: it is throttled, waits, keeps its deadline, comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.callbacks.huggingface.state import read_state
from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.ledger.facts import Decision, LevelsMeasured, RunClosed
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.runs.session import RunSession
from tests.callbacks.huggingface import trainings as tiny
from tests.callbacks.huggingface.test_callback import (  # noqa: F401 - the fixture is used by all
    closings,
    record,
    run_two_ranks,
    without_network,
)
from tests.callbacks.test_schedule import (  # noqa: F401 - the fixture is used by all
    START,
    own_state_folder,
    write_trace,
)
from tests.simulation.nvml import SimulatedNvml
from tests.simulation.world import Inline, RestingClock, WorkingGpu

if TYPE_CHECKING:
    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
    from tests.callbacks.huggingface.schedule_helpers import Works

pytestmark = pytest.mark.slow

H = 3600 * 10**9


@dataclass
class Day:
    """What came of a day."""

    session: RunSession
    gpu: WorkingGpu
    callback: CarbonAwareCallback
    begin_ns: int
    end_ns: int
    trainer: Any

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return [fact.body for fact in self.session.ledger.facts(self.session.run_id, Decision)]


def live_a_day(
    tmp_path: Path, *, steps: int, deadline: str | None, works: type[Works] | None = None,
    options: dict[str, Any] | None = None, **settings: Any,
) -> Day:  # fmt: skip
    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
    from tests.callbacks.huggingface.schedule_helpers import Works

    tmp_path.mkdir(exist_ok=True)
    clock = RestingClock(int(START.timestamp() * 1e9))
    gpu = clock.gpu = WorkingGpu(clock, refresh_s=1.0)
    config = RunConfig(
        runs_dir=tmp_path / "runs", trace=write_trace(tmp_path / "trace.csv"), deadline=deadline,
        log_every=100, **settings,
    )  # fmt: skip
    with SimulatedNvml(gpu, clock=clock).install():  # type: ignore[arg-type]
        meter = EnergyMeter(discover_gpus({}, clock), clock=clock)
        session = RunSession.open(config, clock=clock, meter=meter)
        clock.await_sleepers(1)  # the sampler
        callback = CarbonAwareCallback(session=session, executor=Inline())
        trainer = tiny.plain(tmp_path, callback, max_steps=steps, **(options or {}))
        trainer.add_callback((works or Works)(gpu))
        trainer.train()
        gpu.idle()
        end_ns = clock.now_ns()
        session.close()
    begin_ns = int(START.timestamp() * 1e9)
    return Day(session, gpu, callback, begin_ns, end_ns, trainer)


def test_a_day_is_planned_throttled_waited_for_and_in_time(tmp_path: Path) -> None:
    import torch

    steps = 360  # two hours at full speed
    day = live_a_day(tmp_path / "planned", steps=steps, deadline="8h")
    now = live_a_day(tmp_path / "now", steps=steps, deadline=None)
    planned, at_once = (one.session.snapshot().emissions_kgco2e for one in (day, now))
    assert planned < 0.7 * at_once
    (plan,) = [one["figures"] for one in day.decisions if one["decision"] == "plan"]
    assert day.end_ns <= plan["planned_finish_ns"] + H // 10 <= day.begin_ns + 8 * H
    assert any(one["decision"] == "pause" for one in day.decisions)
    assert any("from here on" in one["why"] for one in day.decisions)
    assert day.gpu.limit_mw == 700_000
    assert day.session.ledger.facts(day.session.run_id, LevelsMeasured)
    assert day.trainer.state.global_step == steps
    weights, others = (one.trainer.model.state_dict() for one in (day, now))
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    rows = day.session.ledger.intervals(day.session.run_id)
    assert rows[rows["phase"] == "pause"]["energy_mj"].sum() > 0
    assert verify(day.session.ledger, day.session.run_id).ok


def test_evaluations_and_checkpoints_are_not_taken_for_a_settings_speed(tmp_path: Path) -> None:
    from tests.callbacks.huggingface.schedule_helpers import Evaluates
    from tests.callbacks.schedule_helpers import STEP_S

    options = {"eval_strategy": "steps", "eval_steps": 9, "save_strategy": "steps", "save_steps": 9}
    day = live_a_day(
        tmp_path, steps=150, deadline="24h", max_wait="1s", works=Evaluates,
        options=options,
    )  # fmt: skip
    (fact,) = day.session.ledger.facts(day.session.run_id, LevelsMeasured)
    assert len(fact.body["levels"]) == 5
    for level in fact.body["levels"]:
        power_w = min(700 * level["share"], 640)
        assert level["steps_per_s"] == pytest.approx((power_w / 640) ** 0.5 / STEP_S, rel=0.01)


def test_a_run_that_makes_room_saves_stops_and_is_gone_on_with_later(tmp_path: Path) -> None:
    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback

    day = live_a_day(tmp_path, steps=360, deadline="14h", release="yes")
    assert day.callback.outcome is not None
    assert (day.callback.outcome.status, day.callback.outcome.exit_status) == ("released", 75)
    done = day.trainer.state.global_step
    assert 0 < done < 360
    state = read_state(tmp_path / "out" / f"checkpoint-{done}")
    assert state is not None
    assert state["waited_ns"] > H
    assert day.gpu.limit_mw == 700_000
    again = CarbonAwareCallback(runs_dir=tmp_path / "runs", host_metering=False)
    tiny.plain(tmp_path, again, max_steps=done + 3).train(resume_from_checkpoint=True)
    ledger = Ledger.open(tmp_path / "runs" / "ledger.sqlite", create=False)
    closed = ledger.facts(day.session.run_id, RunClosed)
    assert [one.body["status"] for one in closed] == ["released", "finished"]
    assert verify(ledger, day.session.run_id).ok


def test_a_setting_is_measured_over_whole_rounds_of_generation(tmp_path: Path) -> None:
    from carbon_trainer.callbacks.huggingface.arguments import round_steps

    options = {"steps_per_generation": 6, "num_iterations": 2, "gradient_accumulation_steps": 3}
    assert round_steps(tiny.grpo(tmp_path, None, **options).args) == 4
    assert round_steps(tiny.plain(tmp_path, None).args) == 1


RANK = """
import json, os, sys, time, warnings
from pathlib import Path
warnings.filterwarnings("ignore")
import torch
from transformers import TrainerCallback
from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
from tests.callbacks.huggingface import trainings as tiny

torch.set_num_threads(1)
folder = Path(sys.argv[1])


class Slow(TrainerCallback):
    def on_step_begin(self, *_, **__):
        time.sleep(0.02)  # ten seconds in all, of which measuring takes half on any machine


callback = CarbonAwareCallback(
    runs_dir=folder / "runs", host_metering=False, zone="FR", deadline="1h", throttle="off"
)
trainer = tiny.plain(folder, callback, max_steps=500, logging_steps=250)
trainer.add_callback(Slow())
trainer.train()
told = {"step": trainer.state.global_step, "weight": float(sum(
    p.double().sum() for p in trainer.model.parameters()
))}
(folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(told))
torch.distributed.destroy_process_group()
"""


def test_two_ranks_stand_still_together(tmp_path: Path) -> None:
    run_two_ranks(RANK, str(tmp_path))
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert told[0] == told[1]
    assert told[0]["step"] == 500
    ledger, run_id = record(tmp_path)
    assert closings(ledger, run_id) == ["finished"]
    (fact,) = ledger.facts(run_id, LevelsMeasured)
    # The other machine tells of itself between steps; meanwhile its power before is taken.
    assert fact.body["idle_w"] == pytest.approx(1000, rel=0.25)
    rows = ledger.intervals(run_id)
    paused = rows[rows["phase"] == "pause"]
    assert set(paused["device"]) == {"GPU-0", "GPU-1"}
