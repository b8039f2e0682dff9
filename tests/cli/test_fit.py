"""`carbon-train fit` as its user sees it, with the real parts and a simulated GPU."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger.facts import Interval, Progress, RunOpened
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.runs.session import RunSession
from tests.cli.commands import CommandResult, Shell
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow

GPU = {"uuid": "GPU-11112222-3333-4444-5555-666677778888", "power_w": 250.0}


def _ledger(shell: Shell) -> Ledger:
    return Ledger.open(shell.folder / "carbon_runs" / "ledger.sqlite", create=False)


def _losses(ledger: Ledger, run_id: str) -> dict[int, float]:
    return {
        fact.body["step"]: fact.body["loss"]
        for fact in ledger.facts(run_id, Progress)
        if fact.body["loss"] is not None
    }


def _wait_for(process: object, shell: Shell, kind: str, count: int = 1) -> None:
    """Wait until a running job's ledger has some facts of a kind."""
    path = shell.folder / "carbon_runs" / "ledger.sqlite"
    for _ in range(1200):
        # While it is just being made, it cannot be opened.
        with contextlib.suppress(LedgerError):
            ledger = Ledger.open(path, create=False)
            for run_id in ledger.run_ids():
                if sum(f.kind == kind for f in ledger.facts(run_id)) >= count:
                    return
        time.sleep(0.1)
    raise AssertionError(f"no {kind} came")


def test_a_run_trains_meters_and_leaves_its_report(
    shell: Shell, carbon_train: Callable[..., CommandResult]
) -> None:
    result = carbon_train("fit", *shell.tiny, "--zone", "GB", "--budget-kwh", "500")
    assert result.status == 0, result.err
    assert "finished: all steps are done." in result.out
    run_dir = shell.folder / "carbon_runs" / shell.run_id()
    assert {"report.html", "report.md", "report.json", "checkpoints"} <= {
        path.name for path in run_dir.iterdir()
    }
    ledger = _ledger(shell)
    losses = _losses(ledger, shell.run_id())
    assert losses[12] < losses[1] - 0.2
    kinds = {fact.kind for fact in ledger.facts(shell.run_id())}
    assert {"corpus_described", "model_described", "checkpoint_saved", "run_closed"} <= kinds
    assert "Traceback" not in result.err


def test_the_same_seed_gives_the_same_losses_and_another_does_not(
    shell: Shell, carbon_train: Callable[..., CommandResult]
) -> None:
    for seed in ("3", "3", "4"):
        assert carbon_train("fit", *shell.tiny, "--seed", seed).status == 0
    ledger = _ledger(shell)
    first, second, third = (_losses(ledger, run_id) for run_id in ledger.run_ids())
    assert first == second
    assert first != third


def test_kernels_that_repeat_themselves_are_asked_for_and_recorded(
    shell: Shell, carbon_train: Callable[..., CommandResult]
) -> None:
    import torch

    try:
        assert carbon_train("fit", *shell.tiny, "--deterministic").status == 0
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    (opened,) = _ledger(shell).facts(shell.run_id(), RunOpened)
    assert opened.body["config"]["deterministic"] is True


def test_a_simulated_gpus_energy_is_true_within_a_percent(shell: Shell) -> None:
    result = shell.run("fit", *shell.tiny, "--max-steps", "400", gpu=GPU)
    assert result.status == 0, result.err
    ledger = _ledger(shell)
    intervals = ledger.intervals(shell.run_id())
    seconds = (intervals["end_ns"].max() - intervals["start_ns"].min()) / 1e9
    true_mj = GPU["power_w"] * 1000 * seconds
    assert ledger.energy_mj(shell.run_id()) == pytest.approx(true_mj, rel=0.01)
    assert set(intervals["device"]) == {GPU["uuid"]}
    assert "GPU energy" in result.out
    measured_mj = intervals.loc[intervals["method"] == "measured", "energy_mj"].sum()
    assert measured_mj > 0.6 * true_mj


def test_a_gpu_that_vanishes_lets_the_run_go_on_and_stands_in_the_report(shell: Shell) -> None:
    sign = shell.folder / "gone"
    args = [*shell.tiny, "--max-steps", "800", "--log-every", "50"]
    process = shell.start("fit", *args, gpu={**GPU, "lost_with": str(sign)})
    _wait_for(process, shell, "progress")
    sign.touch()
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    facts = _ledger(shell).facts(shell.run_id())
    gaps = [fact.body for fact in facts if fact.kind == "incomplete"]
    assert any("GPU is lost" in gap["why"] for gap in gaps)
    report = (shell.folder / "carbon_runs" / shell.run_id() / "report.md").read_text()
    assert "GPU is lost" in report
    assert "Traceback" not in err


def _slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each training step take a while."""
    from carbon_trainer.models.module import TransformerModule

    training_step = TransformerModule.training_step

    def slowly(*args: object) -> torch.Tensor:
        time.sleep(0.02)
        return training_step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(TransformerModule, "training_step", slowly)


def test_a_tiny_budget_stops_with_a_checkpoint_and_resume_goes_on_bit_for_bit(
    shell: Shell, carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ["--max-steps", "400", "--checkpoint-every", "5000", "--validate-every", "120"]
    uninterrupted = carbon_train("fit", *shell.tiny, *steps)
    assert uninterrupted.status == 0
    (uninterrupted_id,) = _ledger(shell).run_ids()

    budget_kwh = 250 * 3.5 / 3.6e6
    with SimulatedNvml(SimulatedGpu(power=Constant(250))).install():
        with monkeypatch.context() as patched:
            # On no machine all steps fit.
            _slowed(patched)
            result = carbon_train("fit", *shell.tiny, *steps, "--budget-kwh", f"{budget_kwh:.9f}")
        assert result.status == 3, result.out + result.err
        assert "resume with a larger budget: carbon-train fit --resume" in result.out
        ledger = _ledger(shell)
        run_id = ledger.run_ids()[-1]
        assert 0 < ledger.energy_mj(run_id) / 3.6e9 <= budget_kwh
        again = carbon_train("fit", "--resume", run_id, "--budget-kwh", "1")
    assert again.status == 0, again.out + again.err
    assert _losses(ledger, run_id) == _losses(ledger, uninterrupted_id)
    assert "already" not in again.err
    report = json.loads((shell.folder / "carbon_runs" / run_id / "report.json").read_text())
    assert len(report["segments"]) == 2


def test_a_finished_run_or_a_spent_budget_is_not_resumed(
    shell: Shell, carbon_train: Callable[..., CommandResult]
) -> None:
    assert carbon_train("fit", *shell.tiny).status == 0
    result = carbon_train("fit", "--resume", "last")
    assert result.status == 2
    assert "has completed all of its 12 steps" in result.err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_and_its_own_status(
    shell: Shell, number: signal.Signals, status: int
) -> None:
    args = [*shell.tiny, "--max-steps", "100000", "--validate-every", "100000"]
    process = shell.start("fit", *args, gpu=GPU)
    _wait_for(process, shell, "progress", 3)
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, out + err
    assert "checkpoint: " in out
    assert "Traceback" not in out + err
    closed = _ledger(shell).facts(shell.run_id())[-1].body
    assert closed["status"] == "interrupted"
    assert Path(shell.folder, closed["checkpoint"]).exists()


def test_a_signal_before_training_ends_at_once(shell: Shell) -> None:
    (shell.folder / "large.txt").write_text("some words of text " * 5_000_000)
    process = shell.start("fit", "--data", "large.txt", "--no-host-metering", gpu=GPU)
    _wait_for(process, shell, "intensity_used")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 143, out + err
    assert "Traceback" not in out + err
    assert _ledger(shell).facts(_ledger(shell).run_ids()[0])[-1].body["status"] == "interrupted"


def test_a_signal_while_the_run_is_being_opened_closes_it_all_the_same(
    shell: Shell, carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = RunSession._begin

    def interrupt(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        begin(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(RunSession, "_begin", interrupt)
    result = carbon_train("fit", *shell.tiny)
    assert result.status == 143
    assert "interrupted: SIGTERM before training." in result.out
    assert _ledger(shell).facts(shell.run_id())[-1].body["status"] == "interrupted"


def test_a_signal_while_the_run_is_being_closed_has_its_answer_already(
    shell: Shell, carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    close = RunSession.close

    def interrupt(*args: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return close(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(RunSession, "close", interrupt)
    result = carbon_train("fit", *shell.tiny)
    assert result.status == 0
    assert _ledger(shell).facts(shell.run_id())[-1].body["status"] == "finished"


def test_a_signal_before_there_is_a_run_is_one_sentence(
    shell: Shell, carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("carbon_trainer.training.fit.fit", interrupt)
    result = carbon_train("fit", *shell.tiny)
    assert (result.status, result.err) == (143, "carbon-train: interrupted by SIGTERM.\n")


def test_a_failure_in_training_is_one_sentence_with_its_traceback_in_a_file(
    shell: Shell, carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from carbon_trainer.models.module import TransformerModule

    def fail(*_: object) -> None:
        raise ArithmeticError("a mistake of the model's")

    monkeypatch.setattr(TransformerModule, "training_step", fail)
    result = carbon_train("fit", *shell.tiny)
    assert result.status == 1
    assert "ArithmeticError: a mistake of the model's" in result.out
    assert "Traceback" not in result.out + result.err
    traceback = shell.folder / "carbon_runs" / shell.run_id() / "traceback.txt"
    assert "training_step" in traceback.read_text()


def test_no_word_of_a_figure_without_its_method(
    shell: Shell, carbon_train: Callable[..., CommandResult]
) -> None:
    carbon_train("fit", *shell.tiny)
    document = json.loads(
        (shell.folder / "carbon_runs" / shell.run_id() / "report.json").read_text()
    )
    assert document["run"]["id"] == shell.run_id()
    assert Interval.kind not in {f.kind for f in _ledger(shell).facts(shell.run_id())}
