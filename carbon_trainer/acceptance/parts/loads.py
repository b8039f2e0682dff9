"""Loads held for ten seconds: the meter beside the counter and beside integrated power."""

from __future__ import annotations

import time

import numpy as np

from carbon_trainer.acceptance.accelerator import PRODUCT_SIZES, hold
from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import gpu_meter
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.acceptance.sensors import Recorder, Sensors, counted_j, integrated_j

LEAD_S = 1.5
"""Measured before and after a load too, so that sensors that lag have come to it, seconds."""

TOLERANCE = 0.005


def measure(setting: Setting, findings: Findings) -> None:
    """Hold each intensity, and idle with the context held."""
    accelerator, scale = setting.accelerator, setting.scale
    accelerator.open()
    intensities = (0.0, *sorted(PRODUCT_SIZES))
    rows = [_held(setting, findings, intensity, scale.held_s) for intensity in intensities]
    accelerator.close()
    findings.table(
        f"Loads held for {scale.held_s:g} s: energy by each method, and its difference from the "
        "counter's",
        ("load", "power, W", "counter, J", "±, J", "ours, J", "±, J", "ours", "power usage",
         "field 186"),
        rows,
    )  # fmt: skip


def _held(
    setting: Setting, findings: Findings, intensity: float, seconds: float
) -> tuple[Cell, ...]:
    name = f"product at {intensity:.0%}" if intensity else "idle, context held"
    recorder = Recorder(Sensors(setting.accelerator.uuid))
    with gpu_meter(setting.accelerator.uuid) as meter, recorder:
        _run(setting, intensity, LEAD_S)
        begin_ns = time.time_ns()
        with meter.step():
            _run(setting, intensity, seconds)
        end_ns = time.time_ns()
        _run(setting, intensity, LEAD_S)
    edges_ns = np.array([begin_ns, end_ns])
    recorder.save(setting.folder, f"load-{intensity:.0%}".rstrip("%"), edges_ns=edges_ns)
    (ours,) = meter.steps()
    counted = counted_j(recorder.counter, begin_ns, end_ns)
    if counted is None:
        return (name, None, None, None, ours.energy_j, ours.sigma_j, None, None, None)
    counter_j, sigma_j = counted
    off = ours.energy_j / counter_j - 1
    allowed = max(TOLERANCE, 2 * (ours.sigma_j**2 + sigma_j**2) ** 0.5 / counter_j)
    findings.check(
        f"{name}: the meter agrees with the counter to {TOLERANCE:.1%} or two sigma",
        abs(off) <= allowed,
        f"{off:+.2%}",
    )
    others = (integrated_j(power, begin_ns, end_ns) for power in (recorder.power, recorder.instant))
    return (
        name,
        round(counter_j / ((end_ns - begin_ns) / 1e9), 1),
        round(counter_j, 2),
        round(sigma_j, 2),
        round(ours.energy_j, 2),
        round(ours.sigma_j, 2),
        f"{off:+.2%}",
        *(None if other is None else f"{other / counter_j - 1:+.2%}" for other in others),
    )


def _run(setting: Setting, intensity: float, seconds: float) -> None:
    if intensity:
        hold(setting.accelerator, seconds, intensity)
    else:
        time.sleep(seconds)
