"""Speed and power at six power limits, compared with ``profile`` on the same work."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from carbon_trainer.acceptance.accelerator import CHUNK_S, keep_busy, steady_steps
from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import gpu_meter
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.parts.limits import allowed_limit
from carbon_trainer.acceptance.sensors import Recorder, Sensors, counter_energy_j, power_energy_j
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.planning.problem import PowerSetting, hull
from carbon_trainer.power.knobs import POWER_LIMIT, PowerLimitKnob
from carbon_trainer.power.profile import PowerProfile, PowerProfiler
from carbon_trainer.power.throttle import Throttle

log = logging.getLogger(__name__)

LIMITS = 6
PROFILE_TOLERANCE = 0.05
STEP_S = 0.1
"""Length of a step of the work that ``profile`` measures, seconds."""

EDGE_S = 0.3
"""Left out at either end, so that changes of the counter enclose the measurement, seconds."""


@dataclass(frozen=True, slots=True)
class _Level:
    """A limit, the power at it, and the work per second as a share of full speed."""

    limit_w: float
    power_w: float
    speed: float


def measure(context: PartContext, findings: Findings) -> None:
    """Run the same work at each limit, the highest first."""
    uuid = context.accelerator.uuid
    knob = PowerLimitKnob(uuid)
    initial_mw = allowed_limit(knob)
    minimum_mw, _ = knob.range()
    # Through the throttle, whose guard restores the limit even if this process is killed.
    throttle = Throttle([uuid], mechanism=POWER_LIMIT, say=log.warning)
    context.accelerator.open()
    levels = []
    for limit_mw in np.linspace(initial_mw, minimum_mw, LIMITS):
        throttle.apply(float(limit_mw) / initial_mw)
        levels.append(_level(context, (knob.now() or 0) / 1000))
    profiled = _profiled(context, throttle)
    throttle.restore()
    context.accelerator.close()
    _report(levels, findings)
    _compare(levels, profiled, initial_mw / 1000, findings)


def _level(context: PartContext, limit_w: float) -> _Level:
    accelerator, scale = context.accelerator, context.scale
    keep_busy(accelerator, min(1.0, scale.level_s), 1.0)
    recorder = Recorder(Sensors(accelerator.uuid))
    with recorder:
        keep_busy(accelerator, EDGE_S, 1.0)
        begin_ns = time.time_ns()
        chunks = keep_busy(accelerator, scale.level_s, 1.0)
        end_ns = time.time_ns()
        keep_busy(accelerator, EDGE_S, 1.0)
    seconds = (end_ns - begin_ns) / NS_PER_S
    counter_result = counter_energy_j(recorder.counter, begin_ns, end_ns)
    used_j = (
        power_energy_j(recorder.power, begin_ns, end_ns)
        if counter_result is None
        else counter_result[0]
    )
    return _Level(limit_w, (used_j or 0.0) / seconds, chunks * CHUNK_S / seconds)


def _profiled(context: PartContext, throttle: Throttle) -> PowerProfile:
    """Measure the settings as ``profile`` and a scheduled run do, in steps of the work."""
    accelerator = context.accelerator
    profiler = PowerProfiler(POWER_LIMIT, throttle.power_fractions)
    with gpu_meter(accelerator.uuid) as meter:
        for step in steady_steps(accelerator, STEP_S, 1.0):
            throttle.apply(profiler.power_fraction)
            profiler.on_step_end(time.time_ns(), meter.summary().energy_mj, step)
            if profiler.wants_idle:
                break
        accelerator.synchronize()
        before_mj, began_s = meter.summary().energy_mj, time.perf_counter()
        time.sleep(context.scale.level_s)
        idle_mj = meter.summary().energy_mj - before_mj
        profiler.record_idle(time.perf_counter() - began_s, idle_mj)
    return profiler.profile(time.time_ns())


def _compare(
    levels: list[_Level], profiled: PowerProfile, initial_w: float, findings: Findings
) -> None:
    """Compare ``profile``'s measurements with the six limits, interpolated."""
    rising = sorted(levels, key=lambda level: level.limit_w)
    limits_w = [level.limit_w for level in rising]
    rows: list[tuple[Cell, ...]] = []
    worst = 0.0
    for setting in profiled.settings:
        limit_w = max(setting.power_fraction * initial_w, limits_w[0])
        power_w = float(np.interp(limit_w, limits_w, [level.power_w for level in rising]))
        speed = float(np.interp(limit_w, limits_w, [level.speed for level in rising]))
        speed /= levels[0].speed
        measured = setting.steps_per_s / profiled.full.steps_per_s
        worst = max(worst, abs(setting.power_w / power_w - 1), abs(measured - speed))
        rows.append(
            (
                f"{setting.power_fraction:.0%}",
                round(limit_w),
                round(setting.power_w, 1),
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
    findings.figure("power during a pause, by profile", profiled.idle_w, "W")
    findings.check(
        f"profile agrees with the six limits to {PROFILE_TOLERANCE:.0%}",
        worst <= PROFILE_TOLERANCE,
        f"{worst:.1%} at most",
    )


def _report(levels: list[_Level], findings: Findings) -> None:
    full = levels[0]
    # The planner uses the settings on the lower convex hull of power over speed alone.
    hull_levels = hull([PowerSetting(level.power_w, level.speed / full.speed) for level in levels])
    on_hull = {level.power_w for level in hull_levels}
    rows: list[tuple[Cell, ...]] = [
        (
            round(level.limit_w),
            round(level.power_w, 1),
            round(level.speed / full.speed, 4),
            round(level.power_w / level.speed, 1),
            "yes" if level.power_w in on_hull else "no",
        )
        for level in levels
    ]
    findings.table(
        "A matrix product at six power limits",
        ("limit, W", "power, W", "speed", "energy of a second's work at full speed, J",
         "used by the planner"),
        rows,
    )  # fmt: skip
    best = min(levels, key=lambda level: level.power_w / level.speed)
    saving = 1 - (best.power_w / best.speed) / (full.power_w / full.speed)
    findings.figure("limit of least energy", best.limit_w, "W")
    findings.figure("energy that it saves", 100 * saving, "%")
    findings.figure("speed that it costs", 100 * (1 - best.speed / full.speed), "%")
    powers_w = [level.power_w for level in levels]
    findings.check(
        "a lower limit draws less",
        all(later <= earlier * 1.01 for earlier, later in pairwise(powers_w)),
        ", ".join(f"{power_w:.0f}" for power_w in powers_w) + " W",
    )
