"""A training under a binding budget, paused, released and resumed, and one without all that."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from carbon_trainer.acceptance.command import RUNS, CommandResult, carbon_train, check_exit_status
from carbon_trainer.acceptance.corpus import CORPUS, write_corpus
from carbon_trainer.acceptance.findings import Findings
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.sensors import Sensors
from carbon_trainer.control.budget import BYTES_PER_PARAMETER, CHECKPOINT_BYTES_PER_S, CLOSING_S
from carbon_trainer.control.phases import TRAIN
from carbon_trainer.ledger.facts import Decision, LevelsMeasured, ModelDescribed, Progress
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.power.profile import IDLE_S
from carbon_trainer.runs.outcome import RELEASED_STATUS
from carbon_trainer.units import J_PER_KWH, MJ_PER_J

WHOLE, SPLIT = "whole", "parted"
BUDGET_SHARE = 0.5
"""Share of the whole run's energy in training steps: less than the split run needs."""

SEGMENTS = 3
MIN_TRAINING_S = 14.0
"""Least duration of the whole run's steps: power settings are measured for four seconds of the
second half before the plan is made."""

TRACE = "trace.csv"
DIRTY, CLEAN = 700, 30
"""Intensities of the trace, gCO2e/kWh."""

RESUMED = ("--resume", SPLIT, "--budget-kwh", "1000")


@dataclass(frozen=True)
class _Trainings:
    """The trainings of this part; ``whole`` is the id of the run without interruption."""

    folder: Path
    uuid: str
    flags: tuple[str, ...]
    whole: str

    def fit(self, *args: str) -> CommandResult:
        return carbon_train(self.folder, "fit", *self.flags, *args)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of all runs, which exists from the first training on."""
        return Ledger.open(self.folder / "carbon_runs" / "ledger.sqlite", create=False)

    def energy_j(self, run_id: str) -> float:
        return self.ledger.energy_mj(run_id) / MJ_PER_J

    def report(self, run_id: str) -> dict[str, Any]:
        path = self.folder / "carbon_runs" / run_id / "report.json"
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return document

    def step_totals(self) -> tuple[float, float]:
        """Return the whole run's time in training steps, seconds, and their energy, joules."""
        (row,) = (
            row for row in self.report(self.whole)["energy"]["by_phase"] if row["name"] == TRAIN
        )
        return float(row["recorded_s"]), row["energy_mj"] / MJ_PER_J

    def losses(self, run_id: str) -> dict[int, float]:
        """Return the loss of each step; of a repeated step the last one."""
        return {
            fact.body["step"]: fact.body["loss"]
            for fact in self.ledger.facts(run_id, Progress)
            if fact.body["loss"] is not None
        }


def measure(context: PartContext, findings: Findings) -> None:
    """Train once without interruption, and once in three segments."""
    write_corpus(context.folder)
    _write_dirty_trace(context.folder)
    trainings = _whole(context, findings)
    if trainings is None:
        return
    budget_j = _binding_j(trainings)
    if (
        _until_the_budget(trainings, findings, budget_j)
        and _paused_and_released(trainings, findings)
        and _to_the_end(trainings, findings)
    ):
        _compare(trainings, findings)
        _report(trainings, findings)


def _flags(context: PartContext, steps: int) -> tuple[str, ...]:
    scale = context.scale
    interval = str(steps)
    on_gpu = context.accelerator.trains_on == "gpu"
    return (
        "--recipe", scale.recipe, *scale.recipe_flags, "--max-steps", interval,
        "--data", CORPUS, "--trace", TRACE,
        "--precision", "bf16-mixed" if on_gpu else "32-true", "--deterministic",
        "--validate-every", interval, "--checkpoint-every", interval, "--log-every", "1",
        "--no-host-metering", "--progress", "off", *RUNS,
    )  # fmt: skip


def _whole(context: PartContext, findings: Findings) -> _Trainings | None:
    """Train without interruption, for long enough; None where that fails."""
    steps = context.scale.steps
    trainings = _Trainings(context.folder, context.accelerator.uuid, _flags(context, steps), WHOLE)
    if not _uninterrupted(trainings, findings):
        return None
    steps_s, _ = trainings.step_totals()
    if steps_s < MIN_TRAINING_S:
        # On a fast board its second half would end before its power settings are measured.
        steps = math.ceil(1.2 * steps * MIN_TRAINING_S / steps_s)
        flags = _flags(context, steps)
        trainings = _Trainings(context.folder, context.accelerator.uuid, flags, f"{WHOLE}-longer")
        if not _uninterrupted(trainings, findings):
            return None
    findings.figure("energy of the whole training", trainings.energy_j(trainings.whole), "J",
                    note="GPU, by the record")  # fmt: skip
    findings.figure("its steps", steps, "")
    findings.figure("time of a step", 1000 * trainings.step_totals()[0] / steps, "ms")
    return trainings


def _uninterrupted(trainings: _Trainings, findings: Findings) -> bool:
    """Train; compare the record with the counter around the process."""
    sensors = Sensors(trainings.uuid)
    before_mj = sensors.counter_mj()
    result = trainings.fit("--run-id", trainings.whole)
    after_mj = sensors.counter_mj()
    if not check_exit_status(
        findings, f"a training without interruption ({trainings.whole})", result, 0
    ):
        return False
    if before_mj is not None and after_mj is not None:
        counted_j = (after_mj - before_mj) / MJ_PER_J
        used_j = trainings.energy_j(trainings.whole)
        findings.check(
            "the record holds no more than the counter over the whole process",
            used_j <= 1.005 * counted_j,
            f"{used_j:,.0f} of {counted_j:,.0f} J, {used_j / counted_j:.1%}: the rest is from the "
            "process's start and imports",
        )
    return True


def _binding_j(trainings: _Trainings) -> float:
    """Return a budget that ends a run after half of its steps, joules.

    What the whole run used before its first step, the split one uses too; and until a checkpoint
    has been timed, the run keeps a large reserve for one.
    """
    steps_s, steps_j = trainings.step_totals()
    (model,) = trainings.ledger.facts(trainings.whole, ModelDescribed)
    checkpoint_s = float(model.body["parameters"]) * BYTES_PER_PARAMETER / CHECKPOINT_BYTES_PER_S
    reserve_j = steps_j / steps_s * (2 * checkpoint_s + CLOSING_S)
    return trainings.energy_j(trainings.whole) - (1 - BUDGET_SHARE) * steps_j + reserve_j


def _until_the_budget(trainings: _Trainings, findings: Findings, budget_j: float) -> bool:
    result = trainings.fit("--run-id", SPLIT, "--budget-kwh", f"{budget_j / J_PER_KWH:.9f}")
    if not check_exit_status(findings, "a budget that binds", result, 3):
        return False
    used_share = trainings.energy_j(SPLIT) / budget_j
    findings.figure("share of the budget used", 100 * used_share, "%")
    findings.check(
        "the budget is not exceeded",
        used_share <= 1,
        f"{used_share:.1%} of {budget_j:,.0f} J",
    )
    return True


def _paused_and_released(trainings: _Trainings, findings: Findings) -> bool:
    """Resume under a schedule: it pauses to measure the idle power, then releases the GPU.

    A run of seconds never pauses for a cleaner grid: waiting for hours would use more energy.
    """
    result = trainings.fit(*RESUMED, "--deadline", "8h", "--throttle", "off", "--release", "yes")
    if not check_exit_status(
        findings, "a release while the grid is dirty", result, RELEASED_STATUS
    ):
        return False
    decisions = [fact.body for fact in trainings.ledger.facts(SPLIT, Decision)]
    waits_s = [
        float(decision["figures"]["waited_s"])
        for decision in decisions
        if decision["decision"] == "go on"
    ]
    findings.check(
        "it pauses with the model on the GPU, and continues",
        bool(waits_s) and min(waits_s) >= IDLE_S,
        f"after {min(waits_s):.1f} s" if waits_s else "it did not pause",
    )
    for fact in trainings.ledger.facts(SPLIT, LevelsMeasured):
        findings.figure("power while paused, the model on the GPU", fact.body["idle_w"], "W")
    return True


def _to_the_end(trainings: _Trainings, findings: Findings) -> bool:
    # A run that is resumed keeps its deadline.
    result = trainings.fit(*RESUMED, "--max-wait", "1s")
    return check_exit_status(findings, "resumed until the end", result, 0)


def _write_dirty_trace(folder: Path) -> None:
    """Write a trace of a grid that is dirty for three hours, and clean afterwards."""
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    rows = ["time_utc,gco2e_per_kwh"]
    for slot in range(144):
        time_utc = begin + timedelta(minutes=5 * slot)
        rows.append(f"{time_utc.isoformat()},{DIRTY if slot < 36 else CLEAN}")
    (folder / TRACE).write_text("\n".join(rows) + "\n", encoding="ascii")


def _compare(trainings: _Trainings, findings: Findings) -> None:
    """Compare the losses of both runs."""
    whole, split = trainings.losses(trainings.whole), trainings.losses(SPLIT)
    same = [step for step in whole if split.get(step) == whole[step]]
    first = min(set(whole) - set(same), default=None)
    findings.check(
        "budget, pause, release and resume leave the loss of each step the same, bit for bit",
        len(same) == len(whole) == len(split),
        f"all {len(whole)} steps" if first is None else f"they differ from step {first} on",
    )


def _report(trainings: _Trainings, findings: Findings) -> None:
    """Build the report and verify the record."""
    verified = carbon_train(trainings.folder, "runs", "verify", *RUNS)
    check_exit_status(findings, "runs verify", verified, 0)
    report = carbon_train(trainings.folder, "report", SPLIT, *RUNS)
    if not check_exit_status(findings, "report", report, 0):
        return
    document = trainings.report(SPLIT)
    findings.check(
        "the report names the run and its segments",
        document["run"]["id"] == SPLIT and len(document["segments"]) == SEGMENTS,
        f"{len(document['segments'])} segments",
    )
