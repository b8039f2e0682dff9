"""What an earlier version has written is read, reported and resumed by this one."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.hardware import machine
from carbon_trainer.ledger.facts import (
    FACT_KINDS,
    CorpusDescribed,
    LevelsMeasured,
    Progress,
    Resumed,
    RunClosed,
)
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.portfolio.build import write_portfolio
from carbon_trainer.reports.portfolio.selection import Selection
from carbon_trainer.runs.outcome import ResumePoint
from carbon_trainer.runs.recovery import recover_killed
from carbon_trainer.runs.session import RunSession
from tests.cli.commands import CommandResult, call
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant
from tests.simulation.world import Inline, WorkingGpu, WorldClock

RECORDS = Path(__file__).parent / "records" / "0.1.0"
REPORTED = ("fit", "lightning", "loop", "transformers", "prepared")
RUNS = (*REPORTED, "killed", "preparing")
EXPORTS = {
    "boamps": "boamps.json",
    "sci": "sci.json",
    "ghg": "ghg.json",
    "esrs": "esrs.json",
    "aiact": "ai-act.json",
    "codecarbon": "emissions.csv",
}
WATTS = 250.0


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The ledger in a copy of the records, which is this process's folder."""
    monkeypatch.delenv("CARBON_TRAINER_LEDGER", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(RECORDS, tmp_path / "records")
    monkeypatch.chdir(tmp_path / "records")
    return Ledger.open(Path("runs", "ledger.sqlite"), create=False)


@pytest.fixture
def carbon_train(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., CommandResult]:
    """`carbon-train` in this process, on the copy of the records."""
    return lambda *args: call([*args, "--runs-dir", "runs"], monkeypatch, capsys)


@pytest.fixture
def gpu() -> Iterator[None]:
    with SimulatedNvml(SimulatedGpu(power=Constant(WATTS))).install():
        yield


def numbers(document: Any, path: str = "") -> dict[str, float]:
    """Every number of a JSON document, by where it stands."""
    if isinstance(document, dict):
        parts = [(f"{path}/{key}", value) for key, value in document.items()]
    elif isinstance(document, list):
        parts = [(f"{path}/{n}", value) for n, value in enumerate(document)]
    else:
        is_number = isinstance(document, int | float) and not isinstance(document, bool)
        return {path: document} if is_number else {}
    return {at: number for at, value in parts for at, number in numbers(value, at).items()}


def numbers_in_table(text: str) -> dict[str, float]:
    """Every number of a CSV file with one row, by its column."""
    (row,) = csv.DictReader(text.splitlines())
    return {name: float(cell) for name, cell in row.items() if cell.replace(".", "", 1).isdigit()}


# The ledger


@pytest.mark.parametrize("run_id", RUNS)
def test_its_chain_holds(ledger: Ledger, run_id: str) -> None:
    assert verify(ledger, run_id).ok


def test_facts_have_the_fields_that_they_had() -> None:
    """A field may be added with a default; none is renamed, nor does one become necessary."""
    for kind, before in json.loads((RECORDS / "facts.json").read_text()).items():
        fields = dataclasses.fields(FACT_KINDS[kind])
        now = {f.name: f.default is f.default_factory is dataclasses.MISSING for f in fields}
        assert set(before) <= set(now), kind
        assert {name for name in now if now[name]} <= {name for name in before if before[name]}


@pytest.mark.parametrize("run_id", REPORTED)
def test_its_report_has_the_figures_that_it_had(ledger: Ledger, run_id: str) -> None:
    before = json.loads(Path("runs", run_id, "report.json").read_text())
    now = json.loads(render_run(ledger, run_id, "json"))
    assert numbers(now) == pytest.approx(numbers(before), rel=1e-12)
    assert len(numbers(before)) > 100


@pytest.mark.parametrize("name", EXPORTS)
def test_its_exports_have_the_figures_that_they_had(ledger: Ledger, name: str) -> None:
    before, now = Path("exports", EXPORTS[name]).read_text(), render_run(ledger, "fit", name)
    read = numbers_in_table if name == "codecarbon" else lambda text: numbers(json.loads(text))
    assert read(now) == pytest.approx(read(before), rel=1e-12)
    assert read(before)


def test_its_runs_add_up_as_they_did(ledger: Ledger, tmp_path: Path) -> None:
    files = write_portfolio(ledger, Selection(), tmp_path, ("json",))
    before = json.loads(Path("exports", "portfolio.json").read_text())
    assert numbers(json.loads(files["json"].read_text())) == pytest.approx(
        numbers(before), rel=1e-12
    )


@pytest.mark.slow
def test_commands_read_it(carbon_train: Callable[..., CommandResult], tmp_path: Path) -> None:
    listed = carbon_train("runs", "list")
    assert listed.status == 0
    assert all(run_id in listed.out for run_id in RUNS)
    for run_id in REPORTED:
        assert carbon_train("runs", "show", run_id).status == 0
        # Also recomputes the figures of the report that was written then.
        verified = carbon_train("runs", "verify", run_id)
        assert verified.status == 0, verified.out + verified.err
    assert carbon_train("report", "--all", "--out", str(tmp_path / "all")).status == 0
    assert (tmp_path / "all" / "portfolio.html").exists()


def test_a_killed_run_is_completed_by_its_heartbeat(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = json.loads(Path("runs", "killed", "meter.json").read_text())
    (device,) = beat["positions"]
    monkeypatch.setattr(machine, "host_name", lambda: beat["host"])
    before_mj = ledger.energy_mj("killed")
    clock = VirtualClock(beat["time_ns"] + 60 * 10**9)
    recovered, _ = recover_killed(Path("runs"), ledger, clock)
    assert recovered.run_id == "killed"
    # Its power until it died is an estimate for a second: the machine has been started since.
    after_mj = ledger.energy_mj("killed")
    assert after_mj == before_mj + recovered.energy_mj
    assert after_mj == pytest.approx(device["energy_mj"] + device["power_mw"], rel=1e-6)
    assert verify(ledger, "killed").ok


# Checkpoints and states


class EarlierRun:
    """A run as the earlier version has left it."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self.ledger = ledger
        self.run_id = run_id
        self.energy_mj = ledger.energy_mj(run_id)
        self.closed = ledger.facts(run_id, RunClosed)[-1].body
        self.step: int = self.closed["step"]

    def check_resumed(self, steps: int) -> None:
        """Look whether another segment has done the other steps and knows of those before."""
        (resumed,) = self.ledger.facts(self.run_id, Resumed)
        # A checkpoint may know of some joules that were settled a little lower afterwards.
        before_mj = resumed.body["energy_before_mj"]
        assert 0 < self.energy_mj <= before_mj == pytest.approx(self.energy_mj, rel=1e-3)
        assert self.ledger.energy_mj(self.run_id) > self.energy_mj
        last = self.ledger.facts(self.run_id, RunClosed)[-1].body
        assert (last["status"], last["step"]) == ("finished", steps)
        assert last["tokens"] / steps == self.closed["tokens"] / self.step
        assert verify(self.ledger, self.run_id).ok


def missing(before: Any, now: Any, path: str = "") -> list[str]:
    """The names that a state has had and does not have any more, settings left out."""
    if not isinstance(before, dict) or path.endswith("/config"):
        return []
    parts = now if isinstance(now, dict) else {}
    return [
        name
        for key, part in before.items()
        for name in (
            missing(part, parts[key], f"{path}/{key}") if key in parts else [f"{path}/{key}"]
        )
    ]


@pytest.mark.slow
def test_fit_goes_on_with_a_checkpoint(
    ledger: Ledger, carbon_train: Callable[..., CommandResult], gpu: None
) -> None:
    import torch

    run = EarlierRun(ledger, "fit")
    result = carbon_train("fit", "--resume", "fit", "--progress", "off")
    assert result.status == 0, result.out + result.err
    run.check_resumed(steps=60)
    (resumed,) = ledger.facts("fit", Resumed)
    assert resumed.body["step"] == run.step
    progress = [fact.body for fact in ledger.facts("fit", Progress)]
    losses = {row["step"]: row["loss"] for row in progress if row["loss"] is not None}
    assert losses[60] < losses[30] < losses[1]
    checkpoints = Path("runs", "fit", "checkpoints")
    before = torch.load(RECORDS / checkpoints / "step-00000034.ckpt", weights_only=True)
    now = torch.load(checkpoints / "step-00000060.ckpt", weights_only=True)
    assert missing(before["callbacks"], now["callbacks"]) == []


@pytest.mark.slow
def test_a_budget_counts_what_was_used_before(
    ledger: Ledger, carbon_train: Callable[..., CommandResult], gpu: None
) -> None:
    used_kwh = ledger.energy_mj("fit") / 3.6e9
    result = carbon_train("fit", "--resume", "fit", "--budget-kwh", f"{0.9 * used_kwh:.9f}")
    assert result.status == 3, result.out + result.err


@pytest.mark.slow
def test_a_lightning_script_goes_on_with_a_checkpoint(ledger: Ledger, gpu: None) -> None:
    from carbon_trainer.callbacks import CarbonAware
    from tests.callbacks.training import TinyModule, loader, trainer

    (checkpoint,) = Path("runs", "lightning", "checkpoints").glob("*.ckpt")
    run = EarlierRun(ledger, "lightning")
    steps = run.step + 20
    aware = CarbonAware(budget_kwh=1, runs_dir="runs", host_metering=False, log_every=10)
    trainer(Path(), aware, steps=steps).fit(
        TinyModule(), loader(), ckpt_path=str(checkpoint), weights_only=True
    )
    run.check_resumed(steps)


@pytest.mark.slow
def test_a_loop_goes_on_with_a_state(ledger: Ledger, gpu: None) -> None:
    import torch

    from carbon_trainer import RunRecorder

    run = EarlierRun(ledger, "loop")
    before = torch.load(Path("loop", "last.pt"), weights_only=True)["run"]
    recorder = RunRecorder(budget_kwh=1, runs_dir="runs", host_metering=False)
    recorder.load_state_dict(before)
    with recorder:
        for _ in recorder.steps({"input_ids": torch.ones(2, 4)} for _ in range(20)):
            time.sleep(0.01)
        assert missing(before, recorder.state_dict()) == []
    run.check_resumed(run.step + 20)


@pytest.mark.slow
def test_a_loop_does_not_begin_where_its_end_would_not_fit_the_budget(
    ledger: Ledger, gpu: None
) -> None:
    import torch

    from carbon_trainer import RunRecorder

    state = torch.load(Path("loop", "last.pt"), weights_only=True)["run"]
    left_mj = state["ahead_mj"] // 2
    budget_kwh = (ledger.energy_mj("loop") + left_mj) / 3.6e9
    recorder = RunRecorder(budget_kwh=budget_kwh, runs_dir="runs", host_metering=False)
    recorder.load_state_dict(state)
    with recorder:
        assert list(recorder.steps([1, 2])) == []


@pytest.mark.slow
def test_a_transformers_trainer_comes_back_to_its_plan(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
    from tests.callbacks.huggingface import trainings
    from tests.callbacks.huggingface.schedule_helpers import Works

    monkeypatch.setenv("CI", "1")
    (folder,) = Path("transformers", "out").glob("checkpoint-*")
    before = json.loads((folder / "carbon_trainer.json").read_text())
    run, steps = EarlierRun(ledger, "transformers"), 360
    clock = WorldClock(int(datetime(2026, 3, 1, 11, tzinfo=UTC).timestamp() * 1e9))
    gpu = WorkingGpu(clock, refresh_s=1.0)
    config = RunConfig(**{**before["config"], "release": "no"})
    resume = ResumePoint("transformers", str(folder), run.step, before["energy_mj"])
    with SimulatedNvml(gpu, clock=clock).install():  # type: ignore[arg-type]
        meter = EnergyMeter(discover_gpus({}, clock), clock=clock)
        session = RunSession.open(config, resume=resume, clock=clock, meter=meter)
        clock.await_sleepers(1)  # the sampler
        callback = CarbonAwareCallback(session=session, executor=Inline())
        trainer = trainings.plain(
            Path("transformers"), callback, max_steps=steps, save_strategy="steps", save_steps=steps
        )
        trainer.add_callback(Works(gpu))
        trainer.train(resume_from_checkpoint=True)
        gpu.idle()
        ended_ns = clock.now_ns()
        session.close()
    run.check_resumed(steps)
    assert ended_ns < datetime(2026, 3, 1, 14, tzinfo=UTC).timestamp() * 1e9
    # Power settings are taken from what was measured in the first segment.
    first, again = (fact.body for fact in ledger.facts("transformers", LevelsMeasured))
    assert again["measured_at_ns"] == first["measured_at_ns"]
    now = json.loads((folder.with_name(f"checkpoint-{steps}") / "carbon_trainer.json").read_text())
    assert missing(before, now) == []
    assert now["waited_ns"] >= before["waited_ns"] > 0


@pytest.mark.slow
def test_a_preparation_goes_on_where_it_was_killed(
    ledger: Ledger,
    carbon_train: Callable[..., CommandResult],
    monkeypatch: pytest.MonkeyPatch,
    gpu: None,
) -> None:
    monkeypatch.setattr(
        "carbon_trainer.curation.prepare.library_versions", lambda: {"library": "1.0"}
    )
    flags = ["rows.jsonl", "--zone", "GB", "--no-host-metering", "--user", "alex"]
    result = carbon_train("data", "prepare", *flags, "--to", "preparing")
    assert result.status == 0, result.err
    sheets = [Path(folder, "datasheet.json") for folder in ("prepared", "preparing")]
    before, now = (json.loads(sheet.read_text()) for sheet in sheets)
    assert now["made_from"] == before["made_from"]
    assert now["data"] == before["data"]
    assert now["preparation"]["run_id"] == "preparing"
    (resumed,) = ledger.facts("preparing", Resumed)
    assert ledger.energy_mj("preparing") > resumed.body["energy_before_mj"] >= 0
    assert verify(ledger, "preparing").ok


@pytest.mark.slow
def test_a_run_trains_on_a_dataset_and_cites_it(
    carbon_train: Callable[..., CommandResult], ledger: Ledger, gpu: None
) -> None:
    sizes = ["--vocab-size", "260", "--block-size", "16", "--batch-size", "2", "--max-steps", "3"]
    flags = ["--data", "prepared", "--model", "model.json", *sizes, "--no-host-metering"]
    result = carbon_train("fit", *flags, "--run-id", "trained", "--progress", "off")
    assert result.status == 0, result.out + result.err
    (corpus,) = ledger.facts("trained", CorpusDescribed)
    (dataset,) = corpus.body["prepared"]
    sheet = json.loads(Path("prepared", "datasheet.json").read_text())
    assert dataset["run_id"] == "prepared"
    assert dataset["data_sha256"] == sheet["data"]["sha256"]
    assert dataset["energy_kwh"] == sheet["preparation"]["energy_kwh"] > 0
