"""Write the records of this folder, with the code of 0.1.0 (commit a4cac1e). See README.md.

No test runs it: only the code of then writes what was written then.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import signal
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from carbon_trainer.energy.nvml import discover_gpus
from carbon_trainer.session import RunSession
from transformers import TrainerCallback

from carbon_trainer import RunRecorder, machine, session
from carbon_trainer.callbacks import CarbonAware
from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
from carbon_trainer.cli.main import main
from carbon_trainer.config import RunConfig
from carbon_trainer.curation import job as preparation_job
from carbon_trainer.curation import prepare as preparation
from carbon_trainer.curation.state import State
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.ledger.facts import FACT_KINDS, IntensityUsed
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.models.module import TransformerModule
from carbon_trainer.reports.build import write_run_report
from tests.callbacks import huggingface as trainings
from tests.callbacks.test_schedule import write_trace
from tests.callbacks.training import TinyModule, loader
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant
from tests.simulation.source import ConstantSource
from tests.simulation.world import Inline, WorkingGpu, WorldClock

START = datetime(2026, 3, 1, tzinfo=UTC)
WATTS = 250.0
RUNS = Path("runs")
WHO = {"user": "alex", "project": "records", "organisation": "Example University"}
TEXT = "\n\n".join(f"def add_{n}(x):\n    return x + {n} * {n % 7}\n" for n in range(60))
MODEL = {
    "model_type": "gpt_neox", "vocab_size": 260, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 16,
    "hidden_dropout": 0.1, "attention_dropout": 0.1,
}  # fmt: skip
INSTRUMENT = """\
instrument: guarantee of origin
registry: AIB
serial: GO-1
vintage: "2026"
market: EU
rate_gco2e_per_kwh: 0
energy_kwh: 0.0001
source: wind
"""


def neutral_machine() -> None:
    """Have the records name a machine that is nobody's."""
    machine.host_name = lambda: "node1"
    machine.boot_id = lambda: "00000000-0000-4000-8000-000000000001"
    machine.pid_space = lambda: "pid:[1]"
    machine.operating_system = lambda: "Linux 6.8.0 (linux)"
    machine.cpu_name = lambda: "Example CPU"
    getpass.getuser = lambda: "alex"


def next_run_is(run_id: str) -> None:
    """Name the run that a callback or a recorder opens next."""
    session.new_run_id = lambda _: run_id


def fit_until_sigterm(run_id: str, after_steps: int) -> None:
    """Train by ``carbon-train fit`` under a budget until a signal ends it."""
    training_step = TransformerModule.training_step
    done = 0

    def slow_step(*args: Any) -> torch.Tensor:
        nonlocal done
        time.sleep(0.02)
        done += 1
        if done == after_steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return training_step(*args)

    TransformerModule.training_step = slow_step
    flags = [
        "--data", "corpus.txt", "--model", "model.json", "--vocab-size", "260", "--block-size",
        "16", "--batch-size", "2", "--max-steps", "60", "--log-every", "5", "--checkpoint-every",
        "10", "--keep-checkpoints", "2", "--validate-every", "10", "--validation-batches", "2",
        "--learning-rate", "0.01", "--no-host-metering", "--budget-kwh", "0.5", "--zone", "GB",
        "--runs-dir", str(RUNS), "--run-id", run_id, "--name", "stopped by a signal",
        "--user", "alex", "--project", "records", "--organisation", "Example University",
        "--purpose", "development", "--operation", "own", "--progress", "off",
    ]  # fmt: skip
    assert exit_status("fit", *flags) == 143
    TransformerModule.training_step = training_step


def transformers_until_released(run_id: str) -> None:
    """Train by transformers' Trainer until it releases its GPU, in virtual time."""
    clock = WorldClock(int(START.timestamp() * 1e9))
    gpu = WorkingGpu(clock, refresh_s=1.0)
    config = RunConfig(
        runs_dir=RUNS, trace=write_trace(Path("trace.csv")), deadline="14h", release="yes",
        log_every=100, name="released until a later window", zone="FR", **WHO,
    )  # fmt: skip

    class Works(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            gpu.work(20.0)

    with SimulatedNvml(gpu, clock=clock).install():  # type: ignore[arg-type]
        meter = EnergyMeter(discover_gpus({}, clock), clock=clock)
        run = RunSession.open(config, clock=clock, meter=meter, run_id=run_id)
        clock.await_sleepers(1)
        callback = CarbonAwareCallback(session=run, executor=Inline())
        trainer = trainings.plain(Path("transformers"), callback, max_steps=360)
        trainer.add_callback(Works())
        trainer.train()
        gpu.idle()
        run.close()
    assert callback.outcome is not None
    assert callback.outcome.status == "released"
    write_run_report(run.ledger, run_id, run.run_dir, ("json",))


def lightning_until_budget(run_id: str) -> None:
    """Train by a Lightning script of one's own, until the budget is reached."""

    class Slow(TinyModule):
        def training_step(self, *args: Any) -> torch.Tensor:
            time.sleep(0.02)
            return super().training_step(*args)

    next_run_is(run_id)
    lightning.seed_everything(3, verbose=False)
    aware = CarbonAware(
        budget_kwh=WATTS * 3 / 3.6e6, zone="DE", runs_dir=RUNS, host_metering=False, log_every=10,
        name="Lightning until its budget", project="records",
    )  # fmt: skip
    trainer = lightning.Trainer(
        max_steps=2000, max_epochs=-1, accelerator="cpu", logger=False, callbacks=[aware],
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Slow(), loader())


def loop_until_budget(run_id: str) -> None:
    """Train by a loop of one's own, until the budget is reached."""
    next_run_is(run_id)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    run = RunRecorder(
        budget_kwh=WATTS * 3 / 3.6e6, zone="US-CA", runs_dir=RUNS, host_metering=False,
        log_every=10, name="a loop until its budget", **WHO,
    )  # fmt: skip
    with run:
        for batch in run.steps({"input_ids": torch.ones(2, 4)} for _ in range(2000)):
            time.sleep(0.02)
            loss = model(batch["input_ids"]).square().mean()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
        with run.phase("validation"):
            run.log(validation_loss=0.5)
        Path("loop").mkdir(exist_ok=True)
        with run.checkpoint("loop/last.pt"):
            state = {"run": run.state_dict(), "model": model.state_dict(), "extra": {}}
            torch.save({**state, "optimizer": optimizer.state_dict()}, "loop/last.pt")


def killed(run_id: str) -> None:
    """Leave a run whose process ends without a word, and its heartbeat."""
    child = os.fork()
    if child == 0:
        config = RunConfig(runs_dir=RUNS, name="killed", zone="GB", host_metering=False, **WHO)
        run = RunSession.open(config, meter=EnergyMeter([ConstantSource(WATTS)]), run_id=run_id)
        run.progress(3, 96, loss=5.0)
        time.sleep(3.2)
        os._exit(1)
    os.waitpid(child, 0)


def prepare(run_id: str, folder: str, commits: int | None = None) -> None:
    """Prepare a dataset, or as much of it as is done when the process is killed."""
    child = os.fork()
    if child == 0:
        preparation.library_versions = lambda: {"library": "1.0"}
        preparation.COMMIT_DOCUMENTS = 8
        preparation_job.new_run_id = lambda _: run_id
        commit = State.commit

        def commit_or_die(*args: Any) -> None:
            nonlocal commits
            commit(*args)
            commits = None if commits is None else commits - 1
            if commits == 0:
                time.sleep(2.5)  # its first records reach the ledger
                os._exit(9)

        State.commit = commit_or_die
        flags = ["rows.jsonl", "--zone", "GB", "--no-host-metering", "--runs-dir", str(RUNS)]
        with SimulatedNvml(SimulatedGpu(power=Constant(WATTS))).install():
            os._exit(exit_status("data", "prepare", *flags, "--user", "alex", "--to", folder))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (0 if commits is None else 9)


def amend(run_id: str) -> None:
    """Say things about a run after the event."""
    ledger = Ledger.open(RUNS / "ledger.sqlite", create=False)
    (factor,) = ledger.facts(run_id, IntensityUsed)
    ledger.close()
    where = ["--runs-dir", str(RUNS), "--by", "alex"]
    wrong = ["--record", str(factor.seq), "--set", "pue=1.2", "--reason", "measured since"]
    assert exit_status("runs", "correct", run_id, *wrong, *where) == 0
    cloud = ["--operation", "cloud", "--provider", "Example Cloud", "--region", "west-1"]
    assert exit_status("runs", "state", run_id, *cloud, *where) == 0
    Path("instrument.yaml").write_text(INSTRUMENT)
    assert exit_status("runs", "instrument", run_id, "instrument.yaml", *where) == 0
    assert exit_status("report", run_id, "--format", "json", "--runs-dir", str(RUNS)) == 0


def describe_facts() -> None:
    """Write which fields each kind of fact has, and which of them it must have."""
    kinds = {
        kind: {
            field.name: field.default is field.default_factory is dataclasses.MISSING
            for field in dataclasses.fields(fact)
        }
        for kind, fact in FACT_KINDS.items()
    }
    Path("facts.json").write_text(json.dumps(kinds, indent=1) + "\n")


def export() -> None:
    """Write what is made of the ledger: a run's exports, and the report of all runs."""
    ledger = Ledger.open(RUNS / "ledger.sqlite", create=False)
    formats = ("boamps", "sci", "if", "ghg", "esrs", "aiact", "codecarbon")
    write_run_report(ledger, "fit", Path("exports"), formats)
    ledger.close()
    everything = ["--all", "--runs-dir", str(RUNS), "--out", "exports", "--format", "json"]
    assert exit_status("report", *everything) == 0


def exit_status(*arguments: str) -> int:
    """Run a command in this process."""
    sys.argv = ["carbon-train", *arguments]
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def keep_little() -> None:
    """Leave only what is read again."""
    with sqlite3.connect(RUNS / "ledger.sqlite") as connection:
        connection.execute("VACUUM INTO 'small.sqlite'")
    connection.close()
    for path in RUNS.glob("ledger.sqlite*"):
        path.unlink()
    Path("small.sqlite").rename(RUNS / "ledger.sqlite")
    for path in sorted(RUNS.glob("*/report.*")):
        if path.suffix != ".json":
            path.unlink()
    (RUNS / "cache" / ".lock").unlink()
    Path("preparing", ".preparing", "state.sqlite-shm").unlink()


def write() -> None:
    neutral_machine()
    Path("corpus.txt").write_text(TEXT)
    Path("model.json").write_text(json.dumps(MODEL, indent=1) + "\n")
    with SimulatedNvml(SimulatedGpu(power=Constant(WATTS))).install():
        fit_until_sigterm("fit", 34)
        lightning_until_budget("lightning")
        loop_until_budget("loop")
    transformers_until_released("transformers")
    killed("killed")
    heartbeat = RUNS / "killed" / "meter.json"
    heartbeat.rename("meter.json")  # else the next start would complete that run
    rows = [{"id": f"d{n}", "text": f"A text of its own, number {n} of many."} for n in range(40)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    prepare("prepared", "prepared")
    prepare("preparing", "preparing", commits=3)
    Path("meter.json").rename(heartbeat)
    amend("loop")
    describe_facts()
    export()
    keep_little()


if __name__ == "__main__":
    write()
