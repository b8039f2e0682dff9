"""Driver and board; how often each sensor changes, and how long reading it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import sources_of
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.sensors import Sensors, SensorTrace, trace_sensor
from carbon_trainer.energy.probe import probe_devices
from carbon_trainer.energy.sources.nvml import describe_nvml

REFRESH_TOLERANCE = 0.1


def measure(context: PartContext, findings: Findings) -> None:
    """Trace each sensor alone, then let the meter learn the counter's refresh."""
    uuid = context.accelerator.uuid
    _describe(uuid, findings)
    sensors = Sensors(uuid)
    reads: dict[str, Callable[[], int | None]] = {
        "energy counter": sensors.counter_mj,
        "power usage": sensors.power_mw,
        "power, field 186": sensors.instant_mw,
        "module power, field 186": sensors.module_mw,
    }
    traces = {
        name: trace_sensor(read, context.scale.watch_s)
        for name, read in reads.items()
        if read() is not None
    }
    findings.table(
        "Sensors of the GPU, read without a pause",
        ("sensor", "available", "refresh, ms", "5 % to 95 %, ms", "read latency, median, µs",
         "read latency, 95 %, µs"),
        [_row(name, traces.get(name)) for name in reads],
    )  # fmt: skip
    _compare_refresh(uuid, traces.get("energy counter"), findings)


def _describe(uuid: str, findings: Findings) -> None:
    nvml = describe_nvml()
    (gpu,) = [gpu for gpu in nvml.gpus if gpu.uuid == uuid]
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


def _row(name: str, trace: SensorTrace | None) -> tuple[Cell, ...]:
    if trace is None:
        return (name, "no", None, None, None, None)
    gaps_ms = np.diff(trace.times_ns) / 1e6
    spread = "{:.1f} to {:.1f}".format(*np.percentile(gaps_ms, [5, 95])) if len(gaps_ms) else None
    refresh_s = trace.refresh_s
    return (
        name,
        "yes",
        None if refresh_s is None else round(refresh_s * 1000, 2),
        spread,
        round(float(np.median(trace.read_latencies_s)) * 1e6, 1),
        round(float(np.percentile(trace.read_latencies_s, 95)) * 1e6, 1),
    )


def _compare_refresh(uuid: str, counter: SensorTrace | None, findings: Findings) -> None:
    """Compare the refresh that the meter learns with the traced one."""
    traced_s = None if counter is None else counter.refresh_s
    if traced_s is None:
        findings.check(
            "the GPU has an energy counter that changes",
            False,
            "it has none, or it does not change",
        )
        return
    (device,) = probe_devices(sources_of(uuid))
    learned_s = device.refresh_s
    findings.figure("counter's refresh", traced_s * 1000, "ms", note="median of its changes")
    findings.figure(
        "counter's refresh, as the meter learns it",
        None if learned_s is None else learned_s * 1000,
        "ms",
    )
    error = None if learned_s is None else abs(learned_s / traced_s - 1)
    findings.check(
        f"the meter learns the counter's refresh to {REFRESH_TOLERANCE:.0%}",
        error is not None and error <= REFRESH_TOLERANCE,
        "it does not learn it" if error is None else f"{error:.1%} off",
    )
