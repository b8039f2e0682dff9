"""RunRecorder: any loop is metered, kept under a budget, recorded and reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import (
    CheckpointSaved,
    CommunicationSampled,
    Incomplete,
    Progress,
    Resumed,
    RunClosed,
)
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.runs.session import RunSession
from tests.distributed.test_exchange import free_port
from tests.simulation.source import ConstantSource
from tests.warm import WarmProcess

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
J_PER_KWH = 3.6e6


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConstantSource:
    """A device of 100 W is all that there is; runs are in the test's own folder."""
    source = ConstantSource(100)

    def meter(clock: Any = None, **_: Any) -> EnergyMeter:
        return EnergyMeter([source], clock=clock)

    monkeypatch.setattr("carbon_trainer.runs.session.EnergyMeter", meter)
    monkeypatch.chdir(tmp_path)
    return source


def _ledger() -> Ledger:
    return Ledger.open(Path("carbon_runs") / "ledger.sqlite", create=False)


def _only_run(ledger: Ledger) -> str:
    (run_id,) = ledger.run_ids()
    assert verify(ledger, run_id).ok
    return run_id


def _slow(count: int, seconds: float = 0.01) -> Iterator[dict[str, torch.Tensor]]:
    import torch

    for _ in range(count):
        time.sleep(seconds)
        yield {"input_ids": torch.zeros(2, 8, dtype=torch.long)}


@pytest.mark.filterwarnings("error")
def test_a_loop_that_ends_is_a_finished_run_with_steps_tokens_losses_and_a_report(
    source: ConstantSource,
) -> None:
    import torch

    from carbon_trainer import RunRecorder

    with RunRecorder(zone="FR", name="mine", log_every=2) as run:
        for number, _ in enumerate(run.steps(_slow(5))):
            run.log(loss=torch.tensor(float(number), requires_grad=True))
        with run.phase("validation"):
            time.sleep(0.05)
            run.log(validation_loss=0.5)
    ledger = _ledger()
    run_id = _only_run(ledger)
    (closed,) = ledger.facts(run_id, RunClosed)
    assert (closed.body["status"], closed.body["step"]) == ("finished", 5)
    assert closed.body["tokens"] == 5 * 16
    told = [
        (one.body["step"], one.body["loss"], one.body["validation_loss"])
        for one in ledger.facts(run_id, Progress)
    ]
    assert told == [(1, 0.0, None), (2, 1.0, None), (4, 3.0, None), (5, 4.0, 0.5)]
    rows = ledger.intervals(run_id)
    assert set(rows["phase"]) >= {"train", "validation", "closing"}
    assert rows["steps"].sum() == 5
    assert run.run_dir == Path("carbon_runs", run_id)
    assert {one.name for one in run.run_dir.glob("report.*")} == {
        "report.html", "report.md", "report.json",
    }  # fmt: skip
    assert run.outcome is not None
    assert run.outcome.exit_status == 0


def test_a_loop_stops_before_its_budget_and_the_rest_can_be_done_later(
    source: ConstantSource,
) -> None:
    import torch

    from carbon_trainer import RunRecorder

    budget_kwh = 100 * 3 / J_PER_KWH
    with RunRecorder(budget_kwh=budget_kwh) as run:
        done = 0
        for _ in run.steps(_slow(2000)):
            done += 1
        assert run.should_stop
        with run.checkpoint("last.pt"):
            torch.save({"run": run.state_dict()}, "last.pt")
    ledger = _ledger()
    run_id = _only_run(ledger)
    assert 0.4 * budget_kwh < ledger.energy_mj(run_id) / 1000 / J_PER_KWH <= budget_kwh
    assert run.outcome is not None
    assert (run.outcome.status, run.outcome.exit_status) == ("budget", 3)
    (saved,) = ledger.facts(run_id, CheckpointSaved)
    assert (saved.body["step"], saved.body["why"]) == (done, "budget")

    again = RunRecorder(budget_kwh=2 * budget_kwh)
    again.load_state_dict(torch.load("last.pt", weights_only=True)["run"])
    with again:
        for _ in again.steps(_slow(3)):
            pass
    run_id = _only_run(_ledger())
    (resumed,) = _ledger().facts(run_id, Resumed)
    assert resumed.body["step"] == done
    closed = [one.body for one in _ledger().facts(run_id, RunClosed)]
    assert [one["status"] for one in closed] == ["budget", "finished"]
    assert [one["step"] for one in closed] == [done, done + 3]
    assert closed[1]["tokens"] == 16 * (done + 3)


def test_a_budget_that_is_used_up_lets_no_step_begin(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    with RunRecorder(budget_kwh=1) as first:
        state = first.state_dict()
    run = RunRecorder(budget_kwh=1)
    run.load_state_dict({**state, "energy_mj": 4 * 10**9})
    with run:
        assert list(run.steps([1, 2])) == []
        assert run.should_stop


def test_a_budget_that_has_no_room_for_another_step_lets_none_begin(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    with RunRecorder(budget_kwh=1) as first:
        for _ in first.steps(_slow(3, 1.0)):
            state = first.state_dict()
    used = first.snapshot()
    assert used is not None
    # Room for the end, and for half of a step of 100 J.
    budget_mj = used.energy_mj + state["ahead_mj"] - 50_000
    again = RunRecorder(budget_kwh=budget_mj / 1000 / J_PER_KWH)
    again.load_state_dict(state)
    with again:
        assert list(again.steps([1, 2])) == []
        assert again.should_stop


def test_a_validation_is_foreseen_once_there_was_one(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    budget_kwh = 100 * 3 / J_PER_KWH
    with RunRecorder(budget_kwh=budget_kwh) as run:
        while not run.should_stop:
            for _ in run.steps(_slow(10)):
                pass
            if run.should_stop:
                break
            with run.phase("validation"):
                time.sleep(0.4)
    ledger = _ledger()
    assert ledger.energy_mj(_only_run(ledger)) / 1000 / J_PER_KWH <= budget_kwh


def test_a_step_can_be_any_block_of_a_loop(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    with RunRecorder() as run:
        for _ in range(4):
            with run.step(tokens=7):
                pass
    (closed,) = _ledger().facts(_only_run(_ledger()), RunClosed)
    assert (closed.body["step"], closed.body["tokens"]) == (4, 28)


def test_on_a_gpu_steps_are_marked_in_its_own_time(
    source: ConstantSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from carbon_trainer import RunRecorder

    made: list[bool] = []

    class Event:
        """As torch.cuda.Event, of a GPU that is never behind."""

        def __init__(self, enable_timing: bool = False) -> None:
            made.append(enable_timing)

        def record(self) -> None:
            self.at_s = time.perf_counter()

        def query(self) -> bool:
            return True

        def elapsed_time(self, end_event: Event) -> float:
            return 1000 * (end_event.at_s - self.at_s)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    with RunRecorder(formats=()) as run:
        for _ in run.steps(_slow(3)):
            pass
    assert len(made) >= 2
    assert all(made)
    ledger = _ledger()
    assert ledger.intervals(_only_run(ledger))["steps"].sum() == 3


def test_a_loop_left_by_break_counts_its_last_step(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    with RunRecorder() as run:
        for number, _ in enumerate(run.steps(range(10), tokens=lambda _: 3)):
            if number == 2:
                break
        for _ in run.steps(range(2)):
            pass
    (closed,) = _ledger().facts(_only_run(_ledger()), RunClosed)
    assert (closed.body["step"], closed.body["tokens"]) == (5, 9)


def test_a_loop_that_fails_keeps_its_record_and_its_own_error(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    def train() -> None:
        with RunRecorder() as run:
            for number in run.steps(range(10)):
                if number == 3:
                    raise ValueError("the user's own mistake")

    with pytest.raises(ValueError, match="the user's own mistake"):
        train()
    (closed,) = _ledger().facts(_only_run(_ledger()), RunClosed)
    assert (closed.body["status"], closed.body["step"]) == ("failed", 3)


def test_a_script_that_exits_well_within_the_block_has_finished(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    def train() -> None:
        with RunRecorder() as run:
            list(run.steps(range(2)))
            sys.exit(0)

    with pytest.raises(SystemExit):
        train()
    (closed,) = _ledger().facts(_only_run(_ledger()), RunClosed)
    assert closed.body["status"] == "finished"


def test_each_opening_is_a_run_and_closing_again_does_nothing(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    recorder = RunRecorder(formats=())
    for _ in range(2):
        with recorder as run:
            list(run.steps(range(2)))
        recorder.close()
    ledger = _ledger()
    closed = [ledger.facts(run_id, RunClosed)[0].body["step"] for run_id in ledger.run_ids()]
    assert closed == [2, 2]
    assert list(Path("carbon_runs").glob("*/report.*")) == []


def test_our_own_bug_is_recorded_once_and_the_loop_goes_on(
    source: ConstantSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from carbon_trainer import RunRecorder

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("our own bug")

    monkeypatch.setattr("carbon_trainer.control.budget.BudgetGuard.end_step", broken)
    with RunRecorder() as run:
        assert list(run.steps(range(5))) == [0, 1, 2, 3, 4]
    ledger = _ledger()
    run_id = _only_run(ledger)
    gaps = [one.body["why"] for one in ledger.facts(run_id, Incomplete)]
    assert gaps == ["ZeroDivisionError: our own bug"]
    assert caplog.text.count("our own bug") == 1
    assert ledger.facts(run_id, RunClosed)[0].body["step"] == 5


def test_a_run_that_cannot_be_closed_costs_the_loop_nothing(
    source: ConstantSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from carbon_trainer import RunRecorder

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    with RunRecorder(formats=()) as run:
        list(run.steps(range(2)))
        session = run.session
        monkeypatch.setattr(RunSession, "close", full)
    assert "could not be closed: no space left" in caplog.text
    monkeypatch.undo()
    assert session is not None
    session.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"budgt_kwh": 1}, "RunRecorder has no setting 'budgt_kwh'. Did you mean budget_kwh"),
        ({"budget_kwh": -1}, "RunRecorder: budget_kwh is -1"),
        ({"dedline": "3d"}, "RunRecorder has no setting 'dedline'. Did you mean deadline"),
        ({"budget_cost": 1}, "price_per_kwh"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_at_once(
    settings: dict[str, Any], sentence: str
) -> None:
    from carbon_trainer import RunRecorder

    with pytest.raises(InputError, match=sentence):
        RunRecorder(**settings)


def test_a_checkpoint_is_to_be_loaded_before_the_run_is_open(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    with RunRecorder() as run, pytest.raises(InputError, match="before the RunRecorder is opened"):
        run.load_state_dict(run.state_dict())


def test_outside_of_its_block_a_recorder_does_nothing(source: ConstantSource) -> None:
    from carbon_trainer import RunRecorder

    run = RunRecorder()
    for _ in run.steps(range(2)):
        run.log(loss=1.0)
    with run.phase("validation"), run.checkpoint("nothing"):
        pass
    assert not run.should_stop
    assert (run.outcome, run.snapshot(), run.run_id, run.state_dict()) == (None, None, None, {})
    assert not Path("carbon_runs").exists()


def test_it_imports_neither_torch_nor_lightning(tmp_path: Path) -> None:
    script = (
        "import sys; from carbon_trainer import RunRecorder\n"
        "with RunRecorder(host_metering=False, budget_kwh=1) as run:\n"
        "    list(run.steps(range(3)))\n"
        "print([name for name in ('torch', 'lightning', 'transformers') if name in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environ, cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert ended.stdout.strip() == "[]", ended.stdout


def _start(folder: Path, launcher: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Train in two processes, as torchrun starts them; return what each has told."""
    port, origin_ns = free_port(), time.time_ns() - 10**10
    gpus = [
        {"uuid": f"GPU-0{n}", "power_w": 100.0 * (n + 1), "refresh_s": 0.02, "origin_ns": origin_ns}
        for n in range(2)
    ]
    processes = []
    for rank in range(2):
        environ = {
            **os.environ,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": "2",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "LOCAL_WORLD_SIZE": "2",
            "TORCHELASTIC_RUN_ID": "test",
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "SIMULATED_NVML": json.dumps(gpus),
            "SIMULATED_NVML_ROOT": str(ROOT),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "simulation" / "site"), str(ROOT)]),
        }
        script = ["-m", "tests.callbacks.loop.loop_rank", launcher, json.dumps(asked)]
        processes.append(WarmProcess(script, env=environ, cwd=folder))
    told = []
    for rank, process in enumerate(processes):
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-3000:]
        told.append(json.loads((folder / f"rank{rank}.json").read_text()))
    return told


@pytest.mark.parametrize("launcher", ["fabric", "accelerate"])
def test_two_processes_are_one_run_and_stop_together_before_the_budget(
    tmp_path: Path, launcher: str
) -> None:
    # 300 W in all: a third of them in the process that keeps the record.
    budget_kwh = 300 * 6 / J_PER_KWH
    told = _start(tmp_path, launcher, {"budget_kwh": budget_kwh})
    ledger = Ledger.open(tmp_path / "carbon_runs" / "ledger.sqlite", create=False)
    run_id = _only_run(ledger)
    (closed,) = ledger.facts(run_id, RunClosed)
    assert closed.body["status"] == "budget"
    assert [one["status"] for one in told] == ["budget", "budget"]
    assert told[0]["steps"] == told[1]["steps"] == closed.body["step"]
    assert closed.body["tokens"] == 2 * 16 * closed.body["step"]
    rows = ledger.intervals(run_id)
    assert set(rows["device"]) == {"GPU-00", "GPU-01"}
    used_kwh = rows["energy_mj"].sum() / 3.6e9
    assert 0.3 * budget_kwh < used_kwh <= budget_kwh
    assert ledger.facts(run_id, Incomplete) == []


def test_two_processes_record_what_they_communicate(tmp_path: Path) -> None:
    _start(tmp_path, "torch", {"communication_every": 10, "steps": 25})
    ledger = Ledger.open(tmp_path / "carbon_runs" / "ledger.sqlite", create=False)
    facts = ledger.facts(_only_run(ledger), CommunicationSampled)
    assert [fact.body["step"] for fact in facts] == [9, 19]
    for fact in facts:
        assert 0 < fact.body["exposed_ns"] <= fact.body["communication_ns"] < fact.body["step_ns"]


def test_what_cannot_be_used_ends_both_processes_with_one_sentence(tmp_path: Path) -> None:
    told = _start(tmp_path, "torch", {"zone": "UK"})
    assert all("Did you mean GB" in one["refused"] for one in told)


def test_processes_without_a_process_group_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from carbon_trainer import RunRecorder

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="their process group does not exist yet"):
        RunRecorder().start()
