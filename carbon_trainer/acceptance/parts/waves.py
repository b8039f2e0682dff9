"""A load that is switched on and off: the energy of single steps of 50 and 200 ms."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import numpy as np

from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import gpu_meter
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.reference import Reference, Wave, reference_of
from carbon_trainer.acceptance.sensors import (
    Floats,
    Recorder,
    Sensors,
    SensorTrace,
    counter_energy_j,
)
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.base import Method


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of wave.

    Attributes:
        name: its name, for people.
        half_s: nominal length of a busy and of an idle half, seconds.
        is_whole: whether a step has both halves, as one that waits for data; else each is a step.
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
"""Halves vary in length by a share, and after each third pair the GPU idles for up to 150 ms
longer: the wave must not synchronize with the counter (``reference``)."""

WHOLE_TOLERANCE = 0.005
WITHIN_TWO_SIGMA = 0.8
"""Share of one wave's steps; below 0.95, as their errors, and the reference's, are correlated."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A wave, its steps' energy by the meter, and the counter's trace."""

    wave: Wave
    metered_j: Floats
    metered_sigma_j: Floats
    whole_j: float
    counter: SensorTrace


def measure(context: PartContext, findings: Findings) -> None:
    """Run each wave."""
    context.accelerator.open()
    rows = [row for kind in KINDS if (row := _row(context, findings, kind)) is not None]
    context.accelerator.close()
    findings.table(
        "Steps of a wave: mean absolute difference from the reference, as a share of a step's mean "
        "energy, and share of steps within one and two sigma",
        ("steps", "count", "mean, J", "reference ±, J", "meter", "within one", "within two",
         "counter at both ends"),
        rows,
    )  # fmt: skip


def _row(context: PartContext, findings: Findings, kind: Kind) -> tuple[Cell, ...] | None:
    run = _run(context, kind)
    _check_whole(run, findings, kind.name)
    reference = reference_of(run.wave, run.counter)
    if reference is None:
        findings.check(f"{kind.name}: a reference", False, "the counter changes too seldom")
        return None
    _figures(reference, findings, kind.name)
    errors_j = np.abs(run.metered_j - reference.energy_j)
    sigmas_j = np.sqrt(run.metered_sigma_j**2 + reference.sigma_j**2)
    within = float(np.mean(errors_j <= 2 * sigmas_j))
    findings.check(
        f"{kind.name}: the reference lies within two sigma for {WITHIN_TWO_SIGMA:.0%} of steps",
        within >= WITHIN_TWO_SIGMA,
        f"{within:.1%}",
    )
    mean_j = float(reference.energy_j.mean())
    return (
        kind.name,
        len(errors_j),
        round(mean_j, 2),
        round(float(reference.sigma_j.mean()), 3),
        f"{errors_j.mean() / mean_j:.2%}",
        f"{np.mean(errors_j <= sigmas_j):.0%}",
        f"{within:.0%}",
        f"{np.abs(_at_both_ends(run) - reference.energy_j).mean() / mean_j:.1%}",
    )


def _figures(reference: Reference, findings: Findings, name: str) -> None:
    note = "by least squares from the counter's changes over the whole wave"
    for quantity, value, unit in (
        ("lag of the counter", reference.lag_s * 1000, "ms"),
        ("mean power, busy", reference.busy_w, "W"),
        ("mean power, idle", reference.idle_w, "W"),
        ("residual of a refresh (RMS)", reference.residual_j, "J"),
    ):
        findings.figure(f"{name}: {quantity}", value, unit, method=Method.ESTIMATED, note=note)


def _run(context: PartContext, kind: Kind) -> _Run:
    recorder = Recorder(Sensors(context.accelerator.uuid))
    with gpu_meter(context.accelerator.uuid) as meter, recorder:
        time.sleep(LEAD_S)
        edges_ns = _load(context, kind, meter)
        time.sleep(LEAD_S)
    name = f"wave-{1000 * kind.half_s:.0f}-ms"
    recorder.save(context.folder, name, edges_ns=np.array(edges_ns))
    steps = meter.steps()
    whole = meter.energy(edges_ns[0], edges_ns[-1])
    return _Run(
        wave=Wave(
            edges_ns=np.array(edges_ns, np.int64),
            busy=np.arange(len(edges_ns) - 1) % 2 == 0,
            half_s=kind.half_s,
            begins_ns=np.array([step.begin_ns for step in steps], np.int64),
            ends_ns=np.array([step.end_ns for step in steps], np.int64),
        ),
        metered_j=np.array([step.energy_j for step in steps]),
        metered_sigma_j=np.array([step.sigma_j for step in steps]),
        whole_j=whole.energy_mj / 1000,
        counter=recorder.counter,
    )


def _load(context: PartContext, kind: Kind, meter: EnergyMeter) -> list[int]:
    """Run a wave on the GPU; return the start of each half, and the end of the last, ns."""
    accelerator, choose = context.accelerator, random.Random(1)  # noqa: S311 - lengths of a load
    edges_ns = [time.time_ns()]
    until_ns = edges_ns[0] + round(context.scale.wave_s * NS_PER_S)
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
    counter_result = counter_energy_j(run.counter, int(edges_ns[0]), int(edges_ns[-1]))
    if counter_result is None:
        findings.check(f"{name}: the counter covers the wave", False, "it changes too seldom")
        return
    error = run.whole_j / counter_result[0] - 1
    findings.check(
        f"{name}: the whole wave agrees with the counter to {WHOLE_TOLERANCE:.1%}",
        abs(error) <= max(WHOLE_TOLERANCE, 2 * counter_result[1] / counter_result[0]),
        f"{error:+.2%}",
    )


def _at_both_ends(run: _Run) -> Floats:
    """Return steps' energy by the counter's values at their begins and ends, joules."""
    counter = run.counter
    begin, end = (
        counter.values[np.maximum(np.searchsorted(counter.times_ns, times_ns, "right") - 1, 0)]
        for times_ns in (run.wave.begins_ns, run.wave.ends_ns)
    )
    energy_j: Floats = (end - begin) / 1000
    return energy_j
