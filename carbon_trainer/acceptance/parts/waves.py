"""A load switched on and off: what single steps of 50 and 200 ms used."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import numpy as np

from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import gpu_meter
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.acceptance.reference import Reference, Wave, reference_of
from carbon_trainer.acceptance.sensors import Floats, Recorder, Sensors, Watched, counted_j
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.base import Method


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of wave.

    Attributes:
        name: for people.
        half_s: how long it is busy, and how long idle, seconds.
        is_whole: whether a step is both, as a training's with its wait for data; else each.
    """

    name: str
    half_s: float
    is_whole: bool


KINDS = (
    Kind("steps of 50 ms, half of it idle", 0.025, is_whole=True),
    Kind("steps of 200 ms, half of it idle", 0.1, is_whole=True),
    Kind("steps of 200 ms, busy and idle in turn", 0.2, is_whole=False),
)
LEAD_S = 1.5
JITTER = 0.2
SLIP_EACH = 3
SLIP_S = 0.15
"""Halves differ in length by a share, and after each third pair the GPU idles for up to 150 ms
more: the wave must not fall in step with the counter (``reference``)."""

WHOLE_TOLERANCE = 0.005
WITHIN_TWO_SIGMA = 0.8
"""Of one wave's steps: their errors, and the reference's, are not independent."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A wave, what the meter made of its steps, and what the counter showed."""

    wave: Wave
    ours_j: Floats
    ours_sigma_j: Floats
    whole_j: float
    counter: Watched


def measure(setting: Setting, findings: Findings) -> None:
    """Run each wave."""
    setting.accelerator.open()
    rows = [row for kind in KINDS if (row := _row(setting, findings, kind)) is not None]
    setting.accelerator.close()
    findings.table(
        "Steps of a wave: mean absolute difference from the reference, as a share of a step's mean "
        "energy, and share of steps within one and two sigma",
        ("steps", "count", "mean, J", "reference ±, J", "ours", "within one", "within two",
         "counter at both ends"),
        rows,
    )  # fmt: skip


def _row(setting: Setting, findings: Findings, kind: Kind) -> tuple[Cell, ...] | None:
    run = _run(setting, kind)
    _check_whole(run, findings, kind.name)
    reference = reference_of(run.wave, run.counter)
    if reference is None:
        findings.check(f"{kind.name}: a reference", False, "the counter changes too seldom")
        return None
    _figures(reference, findings, kind.name)
    off_j = np.abs(run.ours_j - reference.energy_j)
    both_j = np.sqrt(run.ours_sigma_j**2 + reference.sigma_j**2)
    within = float(np.mean(off_j <= 2 * both_j))
    findings.check(
        f"{kind.name}: the reference lies within two sigma for {WITHIN_TWO_SIGMA:.0%} of steps",
        within >= WITHIN_TWO_SIGMA,
        f"{within:.1%}",
    )
    mean_j = float(reference.energy_j.mean())
    return (
        kind.name,
        len(off_j),
        round(mean_j, 2),
        round(float(reference.sigma_j.mean()), 3),
        f"{off_j.mean() / mean_j:.2%}",
        f"{np.mean(off_j <= both_j):.0%}",
        f"{within:.0%}",
        f"{np.abs(_at_both_ends(run) - reference.energy_j).mean() / mean_j:.1%}",
    )


def _figures(reference: Reference, findings: Findings, name: str) -> None:
    note = "by least squares from the counter's changes over the whole wave"
    for what, value, unit in (
        ("counter behind the load", reference.lag_s * 1000, "ms"),
        ("mean power, busy", reference.busy_w, "W"),
        ("mean power, idle", reference.idle_w, "W"),
        ("not explained of a refresh (RMS)", reference.residual_j, "J"),
    ):
        findings.figure(f"{name}: {what}", value, unit, method=Method.ESTIMATED, note=note)


def _run(setting: Setting, kind: Kind) -> _Run:
    recorder = Recorder(Sensors(setting.accelerator.uuid))
    with gpu_meter(setting.accelerator.uuid) as meter, recorder:
        time.sleep(LEAD_S)
        edges_ns = _load(setting, kind, meter)
        time.sleep(LEAD_S)
    name = f"wave-{1000 * kind.half_s:.0f}-ms"
    recorder.save(setting.folder, name, edges_ns=np.array(edges_ns))
    steps = meter.steps()
    whole = meter.energy(edges_ns[0], edges_ns[-1])
    return _Run(
        wave=Wave(
            edges_ns=np.array(edges_ns, np.int64),
            busy=np.arange(len(edges_ns) - 1) % 2 == 0,
            half_s=kind.half_s,
            begins_ns=np.array([one.begin_ns for one in steps], np.int64),
            ends_ns=np.array([one.end_ns for one in steps], np.int64),
        ),
        ours_j=np.array([one.energy_j for one in steps]),
        ours_sigma_j=np.array([one.sigma_j for one in steps]),
        whole_j=whole.energy_mj / 1000,
        counter=recorder.counter,
    )


def _load(setting: Setting, kind: Kind, meter: EnergyMeter) -> list[int]:
    """Put a wave on the GPU; return where each half begins, and where the last ends, ns."""
    accelerator, choose = setting.accelerator, random.Random(1)  # noqa: S311 - lengths of a load
    edges_ns = [time.time_ns()]
    until_ns = edges_ns[0] + round(setting.scale.wave_s * NS_PER_S)
    while edges_ns[-1] < until_ns:
        busy_s, idle_s = (kind.half_s * choose.uniform(1 - JITTER, 1 + JITTER) for _ in range(2))
        meter.step_begin()
        accelerator.launch(busy_s, 1.0)
        accelerator.synchronize()
        edges_ns.append(time.time_ns())
        if not kind.is_whole:
            meter.step_end()
            meter.step_begin()
        time.sleep(idle_s)
        meter.step_end()
        if len(edges_ns) // 2 % SLIP_EACH == 0:
            time.sleep(choose.uniform(0, SLIP_S))
        edges_ns.append(time.time_ns())
    return edges_ns


def _check_whole(run: _Run, findings: Findings, name: str) -> None:
    edges_ns = run.wave.edges_ns
    counted = counted_j(run.counter, int(edges_ns[0]), int(edges_ns[-1]))
    if counted is None:
        findings.check(f"{name}: the counter covers the wave", False, "it changes too seldom")
        return
    off = run.whole_j / counted[0] - 1
    findings.check(
        f"{name}: the whole wave agrees with the counter to {WHOLE_TOLERANCE:.1%}",
        abs(off) <= max(WHOLE_TOLERANCE, 2 * counted[1] / counted[0]),
        f"{off:+.2%}",
    )


def _at_both_ends(run: _Run) -> Floats:
    """Return what a meter would say that reads the counter at a step's begin and end, joules."""
    begin, end = (
        run.counter.values[np.maximum(np.searchsorted(run.counter.times_ns, at, "right") - 1, 0)]
        for at in (run.wave.begins_ns, run.wave.ends_ns)
    )
    found: Floats = (end - begin) / 1000
    return found
