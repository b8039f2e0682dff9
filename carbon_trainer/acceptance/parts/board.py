"""Driver and board; how often each sensor changes, and what asking it costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import sources_of
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.acceptance.sensors import Sensors, Watched, watch
from carbon_trainer.energy.probe import probe_devices
from carbon_trainer.energy.sources.nvml import describe_nvml

REFRESH_TOLERANCE = 0.1


def measure(setting: Setting, findings: Findings) -> None:
    """Watch each sensor alone, then let the meter learn the counter's refresh."""
    uuid = setting.accelerator.uuid
    _describe(uuid, findings)
    sensors = Sensors(uuid)
    asked: dict[str, Callable[[], int | None]] = {
        "energy counter": sensors.counter_mj,
        "power usage": sensors.power_mw,
        "power, field 186": sensors.instant_mw,
        "module power, field 186": sensors.module_mw,
    }
    watched = {
        name: watch(ask, setting.scale.watch_s) for name, ask in asked.items() if ask() is not None
    }
    findings.table(
        "Sensors of the GPU, asked as fast as they answer",
        ("sensor", "there", "refresh, ms", "5 % to 95 %, ms", "a read, µs", "95 % of reads, µs"),
        [_row(name, watched.get(name)) for name in asked],
    )
    _compare_refresh(uuid, watched.get("energy counter"), findings)


def _describe(uuid: str, findings: Findings) -> None:
    nvml = describe_nvml()
    (gpu,) = [one for one in nvml.gpus if one.uuid == uuid]
    rows: list[tuple[Cell, ...]] = [
        ("driver", nvml.driver),
        ("board", gpu.name),
        ("memory, GiB", round(gpu.memory_bytes / 2**30, 1)),
        ("MIG", "on" if gpu.mig else "off"),
        ("part of a module with a CPU", "yes" if Sensors(uuid).is_module() else "no"),
        ("power limit, W", gpu.power_limit_w),
    ]
    if gpu.limit_range_w is not None:
        rows.append(("limits that may be set, W", "{:g} to {:g}".format(*gpu.limit_range_w)))
    findings.table("Driver and board", ("what", "value"), rows)


def _row(name: str, seen: Watched | None) -> tuple[Cell, ...]:
    if seen is None:
        return (name, "no", None, None, None, None)
    gaps_ms = np.diff(seen.times_ns) / 1e6
    spread = "{:.1f} to {:.1f}".format(*np.percentile(gaps_ms, [5, 95])) if len(gaps_ms) else None
    refresh_s = seen.refresh_s
    return (
        name,
        "yes",
        None if refresh_s is None else round(refresh_s * 1000, 2),
        spread,
        round(float(np.median(seen.looks_s)) * 1e6, 1),
        round(float(np.percentile(seen.looks_s, 95)) * 1e6, 1),
    )


def _compare_refresh(uuid: str, counter: Watched | None, findings: Findings) -> None:
    """Hold the refresh that the meter learns beside the one that was seen."""
    seen_s = None if counter is None else counter.refresh_s
    if seen_s is None:
        findings.check(
            "the GPU has an energy counter that changes", False, "it has none, or it stands still"
        )
        return
    (device,) = probe_devices(sources_of(uuid))
    learnt_s = device.refresh_s
    findings.figure("counter's refresh", seen_s * 1000, "ms", note="median of its changes")
    findings.figure(
        "counter's refresh, as the meter learns it",
        None if learnt_s is None else learnt_s * 1000,
        "ms",
    )
    off = None if learnt_s is None else abs(learnt_s / seen_s - 1)
    findings.check(
        f"the meter learns the counter's refresh to {REFRESH_TOLERANCE:.0%}",
        off is not None and off <= REFRESH_TOLERANCE,
        "it does not learn it" if off is None else f"{off:.1%} off",
    )
