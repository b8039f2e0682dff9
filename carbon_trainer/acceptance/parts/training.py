"""A training under a budget that binds, paused, released and resumed, beside one that is not."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from carbon_trainer.acceptance.command import RUNS, Ended, carbon_train, ended_with
from carbon_trainer.acceptance.corpus import CORPUS, write_corpus
from carbon_trainer.acceptance.findings import Findings
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.acceptance.sensors import Sensors
from carbon_trainer.control.budget import BYTES_PER_PARAMETER, CHECKPOINT_BYTES_PER_S, CLOSING_S
from carbon_trainer.control.driver import TRAIN
from carbon_trainer.ledger.facts import Decision, LevelsMeasured, ModelDescribed, Progress
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.power.profile import IDLE_S
from carbon_trainer.runs.outcome import RELEASED_STATUS
from carbon_trainer.units import J_PER_KWH, MJ_PER_J

WHOLE, PARTED = "whole", "parted"
BUDGET_SHARE = 0.5
"""Of the whole run's energy in training steps: less than the parted one needs."""

SEGMENTS = 3
LEAST_S = 14.0
"""How long the whole run must train: power settings are measured for four seconds of its second
half before the plan is made."""

TRACE = "trace.csv"
DIRTY, CLEAN = 700, 30
"""Intensities of the trace, gCO2e/kWh."""

RESUMED = ("--resume", PARTED, "--budget-kwh", "1000")


@dataclass(frozen=True, slots=True)
class _Work:
    """Where trainings run, and how; ``whole`` is the run without interruption."""

    folder: Path
    uuid: str
    flags: tuple[str, ...]
    whole: str

    def fit(self, *args: str) -> Ended:
        return carbon_train(self.folder, "fit", *self.flags, *args)

    def ledger(self) -> Ledger:
        return Ledger.open(self.folder / "carbon_runs" / "ledger.sqlite", create=False)

    def energy_j(self, run_id: str) -> float:
        return self.ledger().energy_mj(run_id) / MJ_PER_J

    def report(self, run_id: str) -> dict[str, Any]:
        path = self.folder / "carbon_runs" / run_id / "report.json"
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return document

    def trained(self) -> tuple[float, float]:
        """Return how long the whole run was in training steps, seconds, and its energy there, J."""
        (row,) = (
            row for row in self.report(self.whole)["energy"]["by_phase"] if row["name"] == TRAIN
        )
        return float(row["recorded_s"]), row["energy_mj"] / MJ_PER_J

    def losses(self, run_id: str) -> dict[int, float]:
        """Return the loss of each step; a step that was done again counts as done last."""
        return {
            fact.body["step"]: fact.body["loss"]
            for fact in self.ledger().facts(run_id, Progress)
            if fact.body["loss"] is not None
        }


def measure(setting: Setting, findings: Findings) -> None:
    """Train once without interruption, and once in three segments."""
    write_corpus(setting.folder)
    _write_dirty_trace(setting.folder)
    work = _whole(setting, findings)
    if work is None:
        return
    budget_j = _binding_j(work)
    if (
        _until_the_budget(work, findings, budget_j)
        and _paused_and_released(work, findings)
        and _to_the_end(work, findings)
    ):
        _compare(work, findings)
        _report(work, findings)


def _flags(setting: Setting, steps: int) -> tuple[str, ...]:
    scale = setting.scale
    rarely = str(steps)
    on_gpu = setting.accelerator.trains_on == "gpu"
    return (
        "--recipe", scale.recipe, *scale.recipe_flags, "--max-steps", rarely,
        "--data", CORPUS, "--trace", TRACE,
        "--precision", "bf16-mixed" if on_gpu else "32-true", "--deterministic",
        "--validate-every", rarely, "--checkpoint-every", rarely, "--log-every", "1",
        "--no-host-metering", "--progress", "off", *RUNS,
    )  # fmt: skip


def _whole(setting: Setting, findings: Findings) -> _Work | None:
    """Train without interruption, for long enough; None where that does not end as it should."""
    steps = setting.scale.steps
    work = _Work(setting.folder, setting.accelerator.uuid, _flags(setting, steps), WHOLE)
    if not _uninterrupted(work, findings):
        return None
    trained_s, _ = work.trained()
    if trained_s < LEAST_S:
        # On a quick board its half would be over before its power settings are measured.
        steps = math.ceil(1.2 * steps * LEAST_S / trained_s)
        flags = _flags(setting, steps)
        work = _Work(setting.folder, setting.accelerator.uuid, flags, f"{WHOLE}-longer")
        if not _uninterrupted(work, findings):
            return None
    findings.figure("energy of the whole training", work.energy_j(work.whole), "J",
                    note="GPU, by the record")  # fmt: skip
    findings.figure("its steps", steps, "")
    findings.figure("time of a step", 1000 * work.trained()[0] / steps, "ms")
    return work


def _uninterrupted(work: _Work, findings: Findings) -> bool:
    """Train; compare the record with the counter around the process."""
    sensors = Sensors(work.uuid)
    before_mj = sensors.counter_mj()
    ended = work.fit("--run-id", work.whole)
    after_mj = sensors.counter_mj()
    if not ended_with(findings, f"a training without interruption ({work.whole})", ended, 0):
        return False
    if before_mj is not None and after_mj is not None:
        counted_j = (after_mj - before_mj) / MJ_PER_J
        used_j = work.energy_j(work.whole)
        findings.check(
            "the record holds no more than the counter over the whole process",
            used_j <= 1.005 * counted_j,
            f"{used_j:,.0f} of {counted_j:,.0f} J, {used_j / counted_j:.1%}: the rest is from the "
            "process's start and imports",
        )
    return True


def _binding_j(work: _Work) -> float:
    """Return a budget that ends a run after half of its steps, joules.

    What the whole run used before its first step, the parted one uses too; and until a checkpoint
    was timed, much is kept for one.
    """
    trained_s, trained_j = work.trained()
    (model,) = work.ledger().facts(work.whole, ModelDescribed)
    written_s = float(model.body["parameters"]) * BYTES_PER_PARAMETER / CHECKPOINT_BYTES_PER_S
    reserve_j = trained_j / trained_s * (2 * written_s + CLOSING_S)
    return work.energy_j(work.whole) - (1 - BUDGET_SHARE) * trained_j + reserve_j


def _until_the_budget(work: _Work, findings: Findings, budget_j: float) -> bool:
    ended = work.fit("--run-id", PARTED, "--budget-kwh", f"{budget_j / J_PER_KWH:.9f}")
    if not ended_with(findings, "a budget that binds", ended, 3):
        return False
    used = work.energy_j(PARTED) / budget_j
    findings.figure("share of the budget used", 100 * used, "%")
    findings.check(
        "the budget is not exceeded",
        used <= 1,
        f"{used:.1%} of {budget_j:,.0f} J",
    )
    return True


def _paused_and_released(work: _Work, findings: Findings) -> bool:
    """Resume under a schedule: it pauses to measure what waiting draws, then releases the GPU.

    For the grid alone a run of seconds never pauses: waiting for hours would use more.
    """
    ended = work.fit(*RESUMED, "--deadline", "8h", "--throttle", "off", "--release", "yes")
    if not ended_with(findings, "a release while the grid is dirty", ended, RELEASED_STATUS):
        return False
    decisions = [one.body for one in work.ledger().facts(PARTED, Decision)]
    waits_s = [float(one["figures"]["waited_s"]) for one in decisions if one["decision"] == "go on"]
    findings.check(
        "it pauses with the model on the GPU, and goes on",
        bool(waits_s) and min(waits_s) >= IDLE_S,
        f"after {min(waits_s):.1f} s" if waits_s else "it did not pause",
    )
    for measured in work.ledger().facts(PARTED, LevelsMeasured):
        findings.figure("power while paused, the model on the GPU", measured.body["idle_w"], "W")
    return True


def _to_the_end(work: _Work, findings: Findings) -> bool:
    # A run that is resumed keeps its deadline.
    ended = work.fit(*RESUMED, "--max-wait", "1s")
    return ended_with(findings, "resumed until the end", ended, 0)


def _write_dirty_trace(folder: Path) -> None:
    """Write a trace by which the grid is dirty for three hours, and clean then."""
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    rows = ["time_utc,gco2e_per_kwh"]
    for slot in range(144):
        time_utc = begin + timedelta(minutes=5 * slot)
        rows.append(f"{time_utc.isoformat()},{DIRTY if slot < 36 else CLEAN}")
    (folder / TRACE).write_text("\n".join(rows) + "\n", encoding="ascii")


def _compare(work: _Work, findings: Findings) -> None:
    """Hold the losses of both runs beside each other."""
    whole, parted = work.losses(work.whole), work.losses(PARTED)
    same = [step for step in whole if parted.get(step) == whole[step]]
    first = min(set(whole) - set(same), default=None)
    findings.check(
        "budget, pause, release and resume leave the loss of each step bit for bit",
        len(same) == len(whole) == len(parted),
        f"all {len(whole)} steps" if first is None else f"they differ from step {first} on",
    )


def _report(work: _Work, findings: Findings) -> None:
    """Have the report made and the record verified."""
    verified = carbon_train(work.folder, "runs", "verify", *RUNS)
    ended_with(findings, "runs verify", verified, 0)
    made = carbon_train(work.folder, "report", PARTED, *RUNS)
    if not ended_with(findings, "report", made, 0):
        return
    document = work.report(PARTED)
    findings.check(
        "the report names the run and its segments",
        document["run"]["id"] == PARTED and len(document["segments"]) == SEGMENTS,
        f"{len(document['segments'])} segments",
    )
