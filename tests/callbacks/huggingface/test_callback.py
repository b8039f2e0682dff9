"""The same metering, ledger, budget and report in transformers.Trainer and in TRL's trainers."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.callbacks.huggingface.state import read_state
from carbon_trainer.control.budget import RECENT_STEPS
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import (
    CheckpointSaved,
    CommunicationSampled,
    Incomplete,
    Progress,
    RunClosed,
)
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.callbacks.huggingface import trainings as tiny
from tests.distributed.test_exchange import ROOT, free_port
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant
from tests.warm import WarmProcess

if TYPE_CHECKING:
    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback

pytestmark = pytest.mark.slow

J_PER_KWH = 3.6e6
WATTS = 200.0


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TRL sends telemetry, unless it runs in somebody's CI; nothing here may try to connect."""
    monkeypatch.setenv("CI", "1")
    tried: list[Any] = []

    connect = socket.socket.connect

    def refuse(own: socket.socket, address: Any) -> None:
        if own.family == socket.AF_UNIX:  # a process of this machine
            return connect(own, address)
        tried.append(address)
        raise OSError("tests have no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert tried == []


@pytest.fixture
def gpu() -> Iterator[SimulatedGpu]:
    simulated = SimulatedGpu(power=Constant(WATTS))
    with SimulatedNvml(simulated).install():
        yield simulated


def aware(folder: Path, **settings: Any) -> CarbonAwareCallback:
    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback

    usual = {"runs_dir": folder / "runs", "host_metering": False, "zone": "FR"}
    return CarbonAwareCallback(**{**usual, **settings})


def record(folder: Path) -> tuple[Ledger, str]:
    ledger = Ledger.open(folder / "runs" / "ledger.sqlite", create=False)
    (run_id,) = ledger.run_ids()
    assert verify(ledger, run_id).ok
    return ledger, run_id


def closings(ledger: Ledger, run_id: str) -> list[str]:
    return [fact.body["status"] for fact in ledger.facts(run_id, RunClosed)]


def test_it_imports_no_lightning() -> None:
    script = (
        "import sys, carbon_trainer.callbacks.huggingface.callback\n"
        "print([name for name in sys.modules if 'lightning' in name])"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("make", tiny.ALL, ids=lambda make: make.__name__)
def test_training_is_the_same_bit_for_bit_with_it(make: Any, tmp_path: Path, gpu: Any) -> None:
    import torch

    alone, losses = tiny.weights_after(make, tmp_path / "alone", None)
    beside, losses_beside = tiny.weights_after(make, tmp_path / "beside", aware(tmp_path))
    assert losses == losses_beside
    assert all(torch.equal(alone[name], beside[name]) for name in alone)
    ledger, run_id = record(tmp_path)
    assert closings(ledger, run_id) == ["finished"]
    assert ledger.facts(run_id, Incomplete) == []
    rows = ledger.intervals(run_id)
    assert rows["steps"].sum() == 6
    assert ledger.facts(run_id, RunClosed)[0].body["tokens"] > 0


def test_a_trainer_has_its_own_methods_back_afterwards(tmp_path: Path, gpu: Any) -> None:
    trainer = tiny.grpo(tmp_path, aware(tmp_path))
    before = set(vars(trainer))
    trainer.train()
    assert {name for name in set(vars(trainer)) - before if callable(vars(trainer)[name])} == set()


def test_generation_scoring_and_update_are_metered_apart_and_sum_to_the_whole(
    tmp_path: Path, gpu: Any
) -> None:
    def thoughtful(completions: list[str], **_: Any) -> list[float]:
        time.sleep(0.05)
        return [float(len(one)) for one in completions]

    tiny.grpo(
        tmp_path, aware(tmp_path), thoughtful, eval_strategy="steps", eval_steps=3, save_steps=3,
        save_strategy="steps", per_device_eval_batch_size=4,
    ).train()  # fmt: skip
    ledger, run_id = record(tmp_path)
    rows = ledger.intervals(run_id)
    by_phase = rows.groupby("phase")["energy_mj"].sum()
    assert {"generation", "scoring", "update", "validation", "checkpoint"} <= set(by_phase.index)
    assert "train" not in by_phase.index
    # Six steps wait 50 ms each for their scores; what validations wait is validation's.
    assert by_phase["scoring"] >= 6 * 0.05 * WATTS * 1000 * 0.95
    seconds = (rows["end_ns"].max() - rows["start_ns"].min()) / 1e9
    assert by_phase.sum() == pytest.approx(WATTS * seconds * 1000, rel=0.02)


def test_what_a_version_of_trl_does_not_report_is_recorded_as_train(
    tmp_path: Path, gpu: Any
) -> None:
    from tests.callbacks.huggingface.helpers import PutBack

    trainer = tiny.grpo(tmp_path, aware(tmp_path))
    trainer._calculate_rewards, rewards = None, trainer._calculate_rewards
    trainer.add_callback(PutBack(trainer, rewards))
    trainer.train()
    ledger, run_id = record(tmp_path)
    phases = set(ledger.intervals(run_id)["phase"])
    assert {"generation", "train"} <= phases
    assert not {"scoring", "update"} & phases
    said = [fact.body["why"] for fact in ledger.facts(run_id) if fact.kind == "decision"]
    assert [why for why in said if "scoring" in why] == [
        "this version of TRL does not report when scoring begins and ends: it is recorded as train"
    ]


def test_a_dpo_run_stops_before_its_budget_with_a_checkpoint_and_its_report_says_so(
    tmp_path: Path, gpu: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # Enough that a step, a validation and the end are a small part of it on a busy machine too.
    from tests.callbacks.huggingface.helpers import Slow

    budget_kwh = WATTS * 5 / J_PER_KWH
    callback = aware(tmp_path, budget_kwh=budget_kwh)
    trainer = tiny.dpo(tmp_path, callback, max_steps=2000, eval_strategy="epoch")
    trainer.add_callback(Slow())
    with caplog.at_level(logging.WARNING):
        trainer.train()
    ledger, run_id = record(tmp_path)
    used_kwh = ledger.energy_mj(run_id) / 1000 / J_PER_KWH
    assert 0.3 * budget_kwh < used_kwh <= budget_kwh
    assert callback.outcome is not None
    assert (callback.outcome.status, callback.outcome.exit_status) == ("budget", 3)
    assert "is reached" in caplog.text
    (saved,) = ledger.facts(run_id, CheckpointSaved)
    assert saved.body["why"] == "budget"
    assert saved.body["step"] == trainer.state.global_step < 2000
    assert Path(saved.body["path"]).is_dir()
    assert callback.run_dir is not None
    report = json.loads((callback.run_dir / "report.json").read_text())
    assert report["run"]["status"] == "budget"
    assert "is reached" in (callback.run_dir / "report.html").read_text()


def test_a_validation_that_would_not_fit_is_not_run(tmp_path: Path, gpu: Any) -> None:
    from tests.callbacks.huggingface.helpers import CountValidations, Slow

    counted = CountValidations()
    callback = aware(tmp_path, budget_kwh=WATTS * 2.5 / J_PER_KWH)
    trainer = tiny.plain(
        tmp_path, callback, max_steps=2000, eval_strategy="steps", eval_steps=1900,
        save_strategy="epoch", num_train_epochs=100,
    )  # fmt: skip
    for more in (Slow(), counted):
        trainer.add_callback(more)
    trainer.train()
    assert counted.batches == 0
    assert callback.outcome is not None
    assert callback.outcome.status == "budget"


@pytest.mark.parametrize(
    "options",
    [
        {"eval_strategy": "epoch"},
        {"eval_strategy": "epoch", "num_train_epochs": 2, "max_steps": -1},
        {"eval_strategy": "steps", "eval_steps": 5, "gradient_accumulation_steps": 2},
    ],
)
def test_a_validation_before_the_next_check_is_foreseen(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    from tests.callbacks.huggingface.helpers import Foresee

    watch = Foresee()
    tiny.plain(tmp_path, watch, **{"max_steps": 30, **options}).train()
    assert watch.foreseen
    assert watch.missed == 0


def test_a_first_validation_is_estimated_from_its_batches(tmp_path: Path) -> None:
    from carbon_trainer.callbacks.huggingface.arguments import validation_steps

    trainer = tiny.plain(tmp_path, None, per_device_eval_batch_size=4)
    assert validation_steps(weakref.ref(trainer)) == 8 / 2
    answering = tiny.grpo(tmp_path, None, per_device_eval_batch_size=4, num_generations_eval=4)
    assert validation_steps(weakref.ref(answering)) == 4 * 4 / 2


def test_a_checkpoint_of_adapters_is_foreseen_as_small_as_it_is() -> None:
    from peft import LoraConfig, get_peft_model

    from carbon_trainer.callbacks.huggingface.arguments import saved_parameters

    whole = tiny.model()
    adapted = get_peft_model(tiny.model(), LoraConfig(r=2, target_modules=["query_key_value"]))
    assert saved_parameters(whole) == sum(p.numel() for p in whole.parameters())
    assert 0 < saved_parameters(adapted) < saved_parameters(whole) / 5


def test_rounds_of_generation_are_remembered_however_long(tmp_path: Path) -> None:
    from carbon_trainer.callbacks.huggingface.arguments import recent_steps

    trainer = tiny.grpo(tmp_path, None, steps_per_generation=40, num_iterations=2)
    assert recent_steps(trainer.args) == 2 * 80
    assert recent_steps(tiny.plain(tmp_path, None).args) == RECENT_STEPS


def test_a_resumed_run_is_one_run_whose_budget_counts_all_segments_until_it_is_raised(
    tmp_path: Path, gpu: Any
) -> None:
    from tests.callbacks.huggingface.helpers import Slow

    small_kwh = WATTS * 2 / J_PER_KWH
    steps: list[int] = []
    for kwh in (small_kwh, small_kwh, 1.0):
        callback = aware(tmp_path, budget_kwh=kwh)
        trainer = tiny.sft(tmp_path, callback, max_steps=120, logging_steps=50)
        trainer.add_callback(Slow())
        trainer.train(resume_from_checkpoint=True if steps else None)
        steps.append(trainer.state.global_step)
    ledger, run_id = record(tmp_path)
    assert closings(ledger, run_id) == ["budget", "budget", "finished"]
    resumed = [fact.body for fact in ledger.facts(run_id) if fact.kind == "resumed"]
    # What is left of the first budget is what a step and the end of the run were known to need.
    assert 0 < steps[0] == steps[1] < steps[2] == 120
    assert resumed[1]["energy_before_mj"] / 1000 / J_PER_KWH <= small_kwh
    assert ledger.intervals(run_id)["steps"].sum() == 120
    assert [body["step"] for body in resumed] == steps[:2]
    assert resumed[1]["energy_before_mj"] >= resumed[0]["energy_before_mj"] > 0


def test_a_budget_that_is_used_up_already_trains_no_step(tmp_path: Path, gpu: Any) -> None:
    from tests.callbacks.huggingface.helpers import CountSteps

    saving = {"save_strategy": "steps", "save_steps": 3}
    tiny.plain(tmp_path, aware(tmp_path), **saving).train()
    counted = CountSteps()
    callback = aware(tmp_path, budget_kwh=1e-9)
    trainer = tiny.plain(tmp_path, callback, eval_strategy="epoch", num_train_epochs=5)
    trainer.add_callback(counted)
    trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    assert (counted.steps, trainer.state.global_step) == (0, 3)
    assert callback.outcome is not None
    assert callback.outcome.status == "budget"


def test_a_resumed_run_ends_with_the_weights_that_it_has_without_it(
    tmp_path: Path, gpu: Any
) -> None:
    import torch

    from tests.callbacks.huggingface.helpers import Slow

    saving = {"save_strategy": "steps", "save_steps": 3}
    trainer = tiny.plain(tmp_path, aware(tmp_path), **saving)
    trainer.add_callback(Slow())
    trainer.train()
    checkpoint = str(tmp_path / "out" / "checkpoint-3")
    weights = []
    for callback in (None, aware(tmp_path)):
        again = tiny.plain(tmp_path / "again", callback)
        again.train(resume_from_checkpoint=checkpoint)
        weights.append(again.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    ledger, run_id = record(tmp_path)
    (resumed,) = [fact.body for fact in ledger.facts(run_id) if fact.kind == "resumed"]
    assert resumed["step"] == 3
    assert resumed["lost_mj"] > 0


def test_a_checkpoint_is_sealed_and_a_changed_one_is_not_gone_on_from(
    tmp_path: Path, gpu: Any
) -> None:
    tiny.plain(tmp_path, aware(tmp_path), save_strategy="steps", save_steps=3).train()
    checkpoint = tmp_path / "out" / "checkpoint-3"
    sealed = subprocess.run(
        ["sha256sum", "-c", "--strict", "carbon_trainer.sha256"], cwd=checkpoint,
        capture_output=True, check=False,
    )  # fmt: skip
    assert sealed.returncode == 0
    state = read_state(checkpoint)
    assert state is not None
    assert state["step"] == 3
    (checkpoint / "carbon_trainer.json").write_text(json.dumps({**state, "energy_mj": 0}))
    trainer = tiny.plain(tmp_path, aware(tmp_path))
    with pytest.raises(InputError, match=r"is not what was saved, see carbon_trainer\.json"):
        trainer.train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.parametrize(
    ("choice", "status", "steps"), [("stop", "budget", 5000), ("estimate", "finished", 80)]
)
def test_when_energy_can_no_longer_be_known_it_does_what_it_was_told_to(
    tmp_path: Path, gpu: SimulatedGpu, choice: str, status: str, steps: int
) -> None:
    from tests.callbacks.huggingface.helpers import LoseAt, Slow

    callback = aware(tmp_path, budget_kwh=1.0, on_meter_loss=choice)
    trainer = tiny.plain(tmp_path, callback, max_steps=steps, logging_steps=50)
    for more in (Slow(), LoseAt(gpu, 5)):
        trainer.add_callback(more)
    trainer.train()
    ledger, run_id = record(tmp_path)
    assert closings(ledger, run_id) == [status]
    assert ledger.facts(run_id, Incomplete)
    assert (trainer.state.global_step < steps) == (choice == "stop")


def test_our_own_bug_does_not_end_training_and_stands_in_the_record(
    tmp_path: Path, gpu: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from carbon_trainer.control.participant import RankContext

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("our bug")

    monkeypatch.setattr(RankContext, "exchange", broken)
    trainer = tiny.plain(tmp_path, aware(tmp_path))
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert trainer.state.global_step == 6
    ledger, run_id = record(tmp_path)
    (gap,) = ledger.facts(run_id, Incomplete)
    assert "our bug" in gap.body["why"]
    assert caplog.text.count("our bug") == 1
    assert closings(ledger, run_id) == ["finished"]


def test_an_exception_in_training_closes_the_run_as_failed(tmp_path: Path, gpu: Any) -> None:
    def failing(completions: list[str], **_: Any) -> list[float]:
        raise ValueError("the user's own mistake")

    callback = aware(tmp_path)
    trainer = tiny.grpo(tmp_path, callback, failing)
    with pytest.raises(ValueError, match="the user's own mistake"):
        trainer.train()
    assert callback.outcome is not None
    assert "the user's own mistake" in callback.outcome.reason
    ledger, run_id = record(tmp_path)
    assert closings(ledger, run_id) == ["failed"]
    assert (callback.run_dir / "report.html").exists()  # type: ignore[operator]


def test_a_run_whose_end_nobody_told_is_closed_before_the_next_begins(
    tmp_path: Path, gpu: Any
) -> None:
    from tests.callbacks.huggingface.helpers import FailsAtBegin

    trainer = tiny.plain(tmp_path, aware(tmp_path))
    unseen = FailsAtBegin()
    trainer.add_callback(unseen)
    with pytest.raises(ValueError, match="before any step"):
        trainer.train()
    trainer.remove_callback(unseen)
    trainer.train()
    ledger = Ledger.open(tmp_path / "runs" / "ledger.sqlite", create=False)
    runs = sorted(ledger.run_ids(), key=lambda run_id: ledger.opened_ns(run_id) or 0)
    assert [closings(ledger, run_id) for run_id in runs] == [["failed"], ["finished"]]


def test_a_trainer_that_finds_its_batch_size_goes_on_with_the_same_run(
    tmp_path: Path, gpu: Any
) -> None:
    from tests.callbacks.huggingface.helpers import TooLarge

    too_large = TooLarge()
    trainer = tiny.plain(
        tmp_path, aware(tmp_path, budget_kwh=1.0), auto_find_batch_size=True,
        per_device_train_batch_size=4,
    )  # fmt: skip
    trainer.add_callback(too_large)
    trainer.train()
    assert too_large.raised
    ledger, run_id = record(tmp_path)
    assert closings(ledger, run_id) == ["failed", "finished"]


def test_the_trainers_logs_and_the_record_have_each_others_figures(
    tmp_path: Path, gpu: Any
) -> None:
    callback = aware(tmp_path, budget_kwh=1.0, price_per_kwh=0.3, log_every=1000)
    trainer = tiny.plain(
        tmp_path, callback, eval_strategy="epoch", num_train_epochs=1, max_steps=12
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "loss" in row]
    for row in logged:
        assert {
            "energy/machines_kwh", "energy/facility_kwh", "energy/power_w", "energy/cost_eur",
            "emissions/total_kgco2e", "budget/left_kwh", "budget/left_share",
        } <= set(row)  # fmt: skip
    assert {"energy/j_per_step", "energy/j_per_token"} <= set(logged[-1])
    ledger, run_id = record(tmp_path)
    points = [fact.body for fact in ledger.facts(run_id, Progress)]
    assert [one["loss"] for one in points if one["loss"] is not None] == pytest.approx(
        [row["loss"] for row in logged]
    )
    (evaluated,) = [row for row in trainer.state.log_history if "eval_loss" in row]
    assert not any(name.startswith("energy/") for name in evaluated)
    assert points[-1]["validation_loss"] == pytest.approx(evaluated["eval_loss"])


def test_accumulated_batches_are_one_step(tmp_path: Path, gpu: Any) -> None:
    trainer = tiny.plain(tmp_path, aware(tmp_path), gradient_accumulation_steps=3, max_steps=4)
    trainer.train()
    ledger, run_id = record(tmp_path)
    assert ledger.intervals(run_id)["steps"].sum() == 4
    # 3 batches of 2 rows of 8 tokens.
    assert ledger.facts(run_id, RunClosed)[0].body["tokens"] == 4 * 3 * 2 * 8


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"deadline": "soon"}, "deadline"),
        ({"deadline": "3d", "objective": "cost"}, "price_per_kwh"),
        ({"throttle": "half"}, "throttle"),
        ({"budgt_kwh": 3}, "Did you mean budget_kwh"),
        ({"budget_kwh": -1}, "budget_kwh is -1"),
    ],
)
def test_a_setting_that_cannot_be_kept_is_refused(settings: dict[str, Any], told: str) -> None:
    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback

    with pytest.raises(InputError, match=told):
        CarbonAwareCallback(**settings)


def test_a_validation_before_the_first_step_is_refused_beside_a_budget(
    tmp_path: Path, gpu: Any
) -> None:
    trainer = tiny.plain(tmp_path, aware(tmp_path, budget_kwh=1.0), eval_on_start=True)
    with pytest.raises(InputError, match="eval_on_start"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_the_documented_example_trains_and_leaves_a_report(
    tmp_path: Path, gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CARBON_TRAINER_LEDGER", raising=False)
    monkeypatch.setattr("carbon_trainer.energy.sources.host.host_sources", lambda clock=None: [])
    text = (ROOT / "docs" / "huggingface.md").read_text()
    first, again = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {
        "model": tiny.model(), "tokenizer": tiny.tokenizer(), "dataset": tiny.texts(),
    }  # fmt: skip
    # TRL's trainers want a GPU, unless they are told otherwise.
    exec(first.replace('report_to="none"', 'report_to="none", use_cpu=True'), names)
    assert "all steps are done" in capsys.readouterr().out
    exec(again, names)
    (report,) = (tmp_path / "carbon_runs").glob("*/report.html")
    assert report.parent == Path(names["carbon"].run_dir).absolute()


RANK = """
import json, os, sys, time, warnings
from pathlib import Path
warnings.filterwarnings("ignore")
import torch
from transformers import TrainerCallback
from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
from tests.callbacks.huggingface import trainings as tiny

torch.set_num_threads(1)
folder, steps, settings = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])


class Slow(TrainerCallback):
    def on_step_begin(self, *_, **__):
        time.sleep(0.02)


callback = CarbonAwareCallback(
    runs_dir=folder / "runs", host_metering=False, zone="FR", **settings
)
trainer = tiny.plain(folder, callback, max_steps=steps, logging_steps=1000)
trainer.add_callback(Slow())
trainer.train()
told = {"step": trainer.state.global_step, "status": callback.outcome.status}
(folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(told))
torch.distributed.destroy_process_group()
"""


def run_two_ranks(script: str, *args: str) -> None:
    """Run a script in two processes that are a rank each, on machines of 200 W and 800 W."""
    port, origin_ns, ranks = free_port(), time.time_ns() - 10**10, []
    for rank, watts in enumerate((200.0, 800.0)):
        gpus = [
            {"uuid": f"GPU-{rank}", "power_w": watts, "refresh_s": 0.02, "origin_ns": origin_ns}
        ]
        environ = {
            **os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
            "RANK": str(rank), "LOCAL_RANK": "0", "GROUP_RANK": str(rank),
            "LOCAL_WORLD_SIZE": "1", "OMP_NUM_THREADS": "1", "SIMULATED_NVML": json.dumps(gpus),
            "SIMULATED_NVML_ROOT": str(ROOT), "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "simulation" / "site"), str(ROOT)]),
        }  # fmt: skip
        ranks.append(WarmProcess(["-c", script, *args], env=environ, cwd=ROOT))
    for process in ranks:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-3000:]


def test_two_ranks_on_two_machines_stop_together_before_their_budget(tmp_path: Path) -> None:
    budget_kwh = 5000.0 / J_PER_KWH
    run_two_ranks(RANK, str(tmp_path), "5000", json.dumps({"budget_kwh": budget_kwh}))
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert told[0] == told[1]
    assert told[0]["status"] == "budget"
    ledger, run_id = record(tmp_path)
    assert closings(ledger, run_id) == ["budget"]
    rows = ledger.intervals(run_id)
    assert set(rows["device"]) == {"GPU-0", "GPU-1"}
    assert 0.3 * budget_kwh < rows["energy_mj"].sum() / 1000 / J_PER_KWH <= budget_kwh
    (saved,) = ledger.facts(run_id, CheckpointSaved)
    assert saved.body["step"] == told[0]["step"]
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {
        path.name for path in Path(saved.body["path"]).iterdir()
    }


def test_two_ranks_record_what_they_communicate(tmp_path: Path) -> None:
    run_two_ranks(RANK, str(tmp_path), "25", json.dumps({"communication_every": 10}))
    ledger, run_id = record(tmp_path)
    samples = [fact.body for fact in ledger.facts(run_id, CommunicationSampled)]
    assert [sample["step"] for sample in samples] == [9, 19]
    for sample in samples:
        assert 0 < sample["exposed_ns"] <= sample["communication_ns"] < sample["step_ns"]
