"""Constant loads of ten seconds: the meter compared with the counter and integrated power."""

from __future__ import annotations

import time

import numpy as np

from carbon_trainer.acceptance.accelerator import PRODUCT_SIZES, keep_busy
from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import gpu_meter
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.sensors import Recorder, Sensors, counter_energy_j, power_energy_j

LEAD_S = 1.5
"""Load before and after the measurement, so that lagging sensors have reached it, seconds."""

TOLERANCE = 0.005


def measure(context: PartContext, findings: Findings) -> None:
    """Run each intensity, and idle with a context."""
    accelerator, scale = context.accelerator, context.scale
    accelerator.open()
    intensities = (0.0, *sorted(PRODUCT_SIZES))
    rows = [_measure(context, findings, intensity, scale.held_s) for intensity in intensities]
    accelerator.close()
    findings.table(
        f"Constant loads of {scale.held_s:g} s: energy by each method, and its difference from the "
        "counter's",
        ("load", "power, W", "counter, J", "±, J", "meter, J", "±, J", "meter", "power usage",
         "field 186"),
        rows,
    )  # fmt: skip


def _measure(
    context: PartContext, findings: Findings, intensity: float, seconds: float
) -> tuple[Cell, ...]:
    name = f"product at {intensity:.0%}" if intensity else "idle, context held"
    recorder = Recorder(Sensors(context.accelerator.uuid))
    with gpu_meter(context.accelerator.uuid) as meter, recorder:
        _run(context, intensity, LEAD_S)
        begin_ns = time.time_ns()
        with meter.step():
            _run(context, intensity, seconds)
        end_ns = time.time_ns()
        _run(context, intensity, LEAD_S)
    edges_ns = np.array([begin_ns, end_ns])
    recorder.save(context.folder, f"load-{intensity:.0%}".rstrip("%"), edges_ns=edges_ns)
    (step,) = meter.steps()
    counter_result = counter_energy_j(recorder.counter, begin_ns, end_ns)
    if counter_result is None:
        return (name, None, None, None, step.energy_j, step.sigma_j, None, None, None)
    counter_j, sigma_j = counter_result
    error = step.energy_j / counter_j - 1
    allowed = max(TOLERANCE, 2 * (step.sigma_j**2 + sigma_j**2) ** 0.5 / counter_j)
    findings.check(
        f"{name}: the meter agrees with the counter to {TOLERANCE:.1%} or two sigma",
        abs(error) <= allowed,
        f"{error:+.2%}",
    )
    powers = (recorder.power, recorder.instant)
    integrals_j = (power_energy_j(power, begin_ns, end_ns) for power in powers)
    return (
        name,
        round(counter_j / ((end_ns - begin_ns) / 1e9), 1),
        round(counter_j, 2),
        round(sigma_j, 2),
        round(step.energy_j, 2),
        round(step.sigma_j, 2),
        f"{error:+.2%}",
        *(None if value is None else f"{value / counter_j - 1:+.2%}" for value in integrals_j),
    )


def _run(context: PartContext, intensity: float, seconds: float) -> None:
    if intensity:
        keep_busy(context.accelerator, seconds, intensity)
    else:
        time.sleep(seconds)
