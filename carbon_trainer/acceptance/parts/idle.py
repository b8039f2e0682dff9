"""Power of an idle GPU: without a context, while a process holds one, and afterwards."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from carbon_trainer.acceptance.accelerator import accelerator_of, keep_busy
from carbon_trainer.acceptance.command import first_line
from carbon_trainer.acceptance.findings import Findings
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.sensors import Sensors, trace_sensor
from carbon_trainer.clock import NS_PER_S

SETTLE_S = 3.0
"""Clocks fall some seconds after the end of the work."""

EDGE_S = 0.3
POLL_INTERVAL_S = 0.02
WORK_S = 1.0


def measure(context: PartContext, findings: Findings) -> None:
    """Measure before, while a child process holds a context, and after it has ended."""
    uuid, seconds = context.accelerator.uuid, context.scale.idle_s
    time.sleep(min(SETTLE_S, seconds))
    released_w = _power_w(uuid, seconds)
    kind = type(context.accelerator)
    child = subprocess.Popen(  # noqa: S603 - this interpreter, this module
        [sys.executable, "-m", __name__, f"{kind.__module__}:{kind.__name__}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        holds = first_line(child) == "held"
        time.sleep(min(SETTLE_S, seconds))
        held_w = _power_w(uuid, seconds) if holds else None
    finally:
        child.communicate()
    time.sleep(min(SETTLE_S, seconds))
    after_w = _power_w(uuid, seconds)
    findings.figure("idle, no context", released_w, "W")
    findings.figure("idle, context held", held_w, "W", note="during a pause")
    findings.figure("idle, context released", after_w, "W", note="after a release")
    if holds and held_w is not None and after_w is not None:
        findings.figure("saved by a release over a pause", held_w - after_w, "W")
    findings.check(
        "the GPU draws no more after a context was released than before it was taken",
        released_w is not None and after_w is not None and after_w <= released_w * 1.05 + 1,
        f"{released_w or 0:.1f} W before, {after_w or 0:.1f} W after",
    )


def _power_w(uuid: str, seconds: float) -> float | None:
    """Return the mean power, watts, with few reads, as reads wake up the driver."""
    sensors = Sensors(uuid)
    read = sensors.counter_mj if sensors.counter_mj() is not None else sensors.power_mw
    trace = trace_sensor(read, seconds + EDGE_S, POLL_INTERVAL_S)
    if read == sensors.power_mw:
        return float(np.mean(trace.values)) / 1000 if len(trace.values) else None
    if len(trace.times_ns) < 3:
        return None
    # From change to change: the first value is older than the first read.
    first, last = 1, len(trace.times_ns) - 1
    used_mj = int(trace.values[last] - trace.values[first])
    return used_mj / 1000 * NS_PER_S / int(trace.times_ns[last] - trace.times_ns[first])


def _hold_context(spec: str) -> None:
    """Run as the child: work briefly, then hold a context until the parent closes the pipe."""
    accelerator = accelerator_of(spec)
    accelerator.open()
    keep_busy(accelerator, WORK_S, 1.0)
    print("held", flush=True)  # noqa: T201 - read by the parent
    sys.stdin.read()
    accelerator.close()


if __name__ == "__main__":
    _hold_context(sys.argv[1])
