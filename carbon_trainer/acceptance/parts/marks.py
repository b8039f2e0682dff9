"""Steps marked by CUDA events and in the Python thread, compared with the GPU's own ends."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from carbon_trainer.acceptance.accelerator import Accelerator, wait_for
from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.metering import gpu_meter
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.sensors import Floats, Int64
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.cuda_steps import NS_PER_MS, GpuEvent

STEPS_S = (0.03, 0.06)
"""Short and long steps alternate, as with sequences of uneven length, seconds."""

AHEAD = 2
"""Steps that the thread runs ahead of the GPU, as a training loop does."""

MEDIAN_MS = 2.0
"""Tolerance: the driver's own jitter of a launch is some tenths."""


@dataclass(frozen=True, slots=True)
class _Marked:
    """Ends of steps by the meter's marks, true ends, ns, and the cost of marking."""

    marks_ns: Int64
    truth_ns: Int64
    cost_us: Floats


def measure(context: PartContext, findings: Findings) -> None:
    """Run the same steps with either kind of mark."""
    accelerator = context.accelerator
    accelerator.open()
    rows: list[tuple[Cell, ...]] = []
    medians = {}
    for name, with_events in (("CUDA events", True), ("in the thread", False)):
        marked = _run(context, with_events=with_events)
        errors_ms = np.abs(marked.marks_ns - marked.truth_ns) / NS_PER_MS
        medians[name] = float(np.median(errors_ms))
        lengths = np.diff(marked.marks_ns) - np.diff(marked.truth_ns)
        rows.append(
            (
                name,
                len(errors_ms),
                round(medians[name], 3),
                round(float(np.percentile(errors_ms, 95)), 3),
                round(float(np.mean(np.abs(lengths))) / NS_PER_MS, 3),
                round(float(np.median(marked.cost_us)), 1),
            )
        )
    accelerator.close()
    findings.table(
        f"Ends of steps that the thread launches {AHEAD} steps ahead: distance of the marks from "
        "the GPU's own ends",
        ("marks", "steps", "median, ms", "95 %, ms", "step's length off, mean, ms",
         "cost of marking, µs"),
        rows,
    )  # fmt: skip
    findings.check(
        f"marks by events lie within {MEDIAN_MS:g} ms of the GPU's own ends (median)",
        medians["CUDA events"] <= MEDIAN_MS,
        f"{medians['CUDA events']:.2f} ms",
    )


def _run(context: PartContext, *, with_events: bool) -> _Marked:
    accelerator = context.accelerator
    make = accelerator.event if with_events else None
    ends: list[GpuEvent] = []
    cost_us = []
    with gpu_meter(accelerator.uuid, make) as meter:
        origin, origin_ns = _origin(accelerator)
        for step in range(context.scale.marked_steps):
            if step >= AHEAD:
                wait_for(ends[step - AHEAD])
            started_ns = time.perf_counter_ns()
            meter.step_begin()
            marking_ns = time.perf_counter_ns() - started_ns
            accelerator.launch(STEPS_S[step % len(STEPS_S)], 1.0)
            ends.append(accelerator.event())
            ends[-1].record()
            started_ns = time.perf_counter_ns()
            meter.step_end()
            cost_us.append((marking_ns + time.perf_counter_ns() - started_ns) / 1000)
        accelerator.synchronize()
    truth_ns = [origin_ns + round(origin.elapsed_time(end) * NS_PER_MS) for end in ends]
    marks_ns = [step.end_ns for step in meter.steps()]
    return _Marked(
        np.array(marks_ns, np.int64), np.array(truth_ns, np.int64), np.array(cost_us, np.float64)
    )


def _origin(accelerator: Accelerator) -> tuple[GpuEvent, int]:
    """Return an event and the host's time of it, recorded while the GPU is idle.

    The narrowest of several attempts, as the event lies somewhere between two reads of the clock.
    """
    attempts = []
    for _ in range(20):
        accelerator.synchronize()
        event = accelerator.event()
        before_ns = time.time_ns()
        event.record()
        accelerator.synchronize()
        after_ns = time.time_ns()
        attempts.append((after_ns - before_ns, (before_ns + after_ns) // 2, event))
    width_ns, middle_ns, event = min(attempts, key=lambda row: row[0])
    if width_ns > NS_PER_S // 1000:
        # Another program uses the GPU: the true time is not known to the millisecond.
        raise RuntimeError(f"an event on the idle GPU took {width_ns / NS_PER_MS:.1f} ms")
    return event, middle_ns
