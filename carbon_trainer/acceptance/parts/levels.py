"""Speed and power at six power limits, and what ``profile`` measures of the same work."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from carbon_trainer.acceptance.accelerator import CHUNK_S, hold, steady_work
from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import gpu_meter
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.acceptance.parts.limits import allowed_limit
from carbon_trainer.acceptance.sensors import Recorder, Sensors, counted_j, integrated_j
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.planning.problem import PowerSetting, hull
from carbon_trainer.power.knobs import POWER_LIMIT, PowerLimitKnob
from carbon_trainer.power.profile import PowerProfile, PowerProfiler
from carbon_trainer.power.throttle import Throttle

log = logging.getLogger(__name__)

LIMITS = 6
PROFILE_TOLERANCE = 0.05
STEP_S = 0.1
"""How long a step of the work is that ``profile`` measures, seconds."""

EDGE_S = 0.3
"""Left out at either end, so that the counter's changes surround what is measured, seconds."""


@dataclass(frozen=True, slots=True)
class _Level:
    """A limit, the power at it, and the work done in a second as a share of full speed."""

    limit_w: float
    power_w: float
    speed: float


def measure(setting: Setting, findings: Findings) -> None:
    """Hold the same work at each limit, the highest first."""
    uuid = setting.accelerator.uuid
    knob = PowerLimitKnob(uuid)
    found_mw = allowed_limit(knob)
    least_mw, _ = knob.range()
    # Through the throttle, whose guard restores the limit whatever becomes of this process.
    throttle = Throttle([uuid], mechanism=POWER_LIMIT, say=log.warning)
    setting.accelerator.open()
    levels = []
    for limit_mw in np.linspace(found_mw, least_mw, LIMITS):
        throttle.apply(float(limit_mw) / found_mw)
        levels.append(_level(setting, (knob.now() or 0) / 1000))
    profiled = _profiled(setting, throttle)
    throttle.restore()
    setting.accelerator.close()
    _report(levels, findings)
    _compare(levels, profiled, found_mw / 1000, findings)


def _level(setting: Setting, limit_w: float) -> _Level:
    accelerator, scale = setting.accelerator, setting.scale
    hold(accelerator, min(1.0, scale.level_s), 1.0)
    recorder = Recorder(Sensors(accelerator.uuid))
    with recorder:
        hold(accelerator, EDGE_S, 1.0)
        begin_ns = time.time_ns()
        chunks = hold(accelerator, scale.level_s, 1.0)
        end_ns = time.time_ns()
        hold(accelerator, EDGE_S, 1.0)
    seconds = (end_ns - begin_ns) / NS_PER_S
    counted = counted_j(recorder.counter, begin_ns, end_ns)
    used_j = integrated_j(recorder.power, begin_ns, end_ns) if counted is None else counted[0]
    return _Level(limit_w, (used_j or 0.0) / seconds, chunks * CHUNK_S / seconds)


def _profiled(setting: Setting, throttle: Throttle) -> PowerProfile:
    """Have the settings measured as ``profile`` and a scheduled run do, in steps of the work."""
    accelerator = setting.accelerator
    measuring = PowerProfiler(POWER_LIMIT, throttle.power_fractions)
    with gpu_meter(accelerator.uuid) as meter:
        for step in steady_work(accelerator, STEP_S, 1.0):
            throttle.apply(measuring.power_fraction)
            measuring.on_step_end(time.time_ns(), meter.summary().energy_mj, step)
            if measuring.wants_idle:
                break
        accelerator.synchronize()
        before_mj, began_s = meter.summary().energy_mj, time.perf_counter()
        time.sleep(setting.scale.level_s)
        idle_mj = meter.summary().energy_mj - before_mj
        measuring.record_idle(time.perf_counter() - began_s, idle_mj)
    return measuring.profile(time.time_ns())


def _compare(
    levels: list[_Level], profiled: PowerProfile, found_w: float, findings: Findings
) -> None:
    """Hold what ``profile`` measured beside the six limits, between which it is interpolated."""
    rising = sorted(levels, key=lambda one: one.limit_w)
    limits_w = [one.limit_w for one in rising]
    rows: list[tuple[Cell, ...]] = []
    worst = 0.0
    for one in profiled.settings:
        limit_w = max(one.power_fraction * found_w, limits_w[0])
        power_w = float(np.interp(limit_w, limits_w, [each.power_w for each in rising]))
        speed = float(np.interp(limit_w, limits_w, [each.speed for each in rising]))
        speed /= levels[0].speed
        measured = one.steps_per_s / profiled.full.steps_per_s
        worst = max(worst, abs(one.power_w / power_w - 1), abs(measured - speed))
        rows.append(
            (
                f"{one.power_fraction:.0%}",
                round(limit_w),
                round(one.power_w, 1),
                round(power_w, 1),
                round(measured, 4),
                round(speed, 4),
            )
        )
    findings.table(
        "The same work as profile measures it, beside the six limits",
        ("setting", "limit, W", "power by profile, W", "by the limits, W", "speed by profile",
         "by the limits"),
        rows,
    )  # fmt: skip
    findings.figure("power while the work stands still, by profile", profiled.idle_w, "W")
    findings.check(
        f"what profile measures agrees with the six limits to {PROFILE_TOLERANCE:.0%}",
        worst <= PROFILE_TOLERANCE,
        f"{worst:.1%} at most",
    )


def _report(levels: list[_Level], findings: Findings) -> None:
    full = levels[0]
    kept = hull([PowerSetting(one.power_w, one.speed / full.speed) for one in levels])
    on_hull = {one.power_w for one in kept}
    rows: list[tuple[Cell, ...]] = [
        (
            round(one.limit_w),
            round(one.power_w, 1),
            round(one.speed / full.speed, 4),
            round(one.power_w / one.speed, 1),
            "yes" if one.power_w in on_hull else "no",
        )
        for one in levels
    ]
    findings.table(
        "A matrix product at six power limits",
        ("limit, W", "power, W", "speed", "energy of a second's work at full speed, J",
         "used by the planner"),
        rows,
    )  # fmt: skip
    best = min(levels, key=lambda one: one.power_w / one.speed)
    saving = 1 - (best.power_w / best.speed) / (full.power_w / full.speed)
    findings.figure("limit of least energy", best.limit_w, "W")
    findings.figure("energy that it saves", 100 * saving, "%")
    findings.figure("speed that it costs", 100 * (1 - best.speed / full.speed), "%")
    powers_w = [one.power_w for one in levels]
    findings.check(
        "a lower limit draws less",
        all(later <= earlier * 1.01 for earlier, later in pairwise(powers_w)),
        ", ".join(f"{power_w:.0f}" for power_w in powers_w) + " W",
    )
