"""Meters under test, each in a process of its own: ours, its peers, and the counter read by hand.

Run by metering.py. Takes a case as JSON, prints what was measured as JSON.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

J_PER_KWH = 3.6e6
CARBONTRACKER_PUE = 1.58
"""Its totals are multiplied by this (carbontracker/constants.py)."""


class Subject(Protocol):
    """A meter as a training loop uses it."""

    def begin(self) -> None:
        """Begin a window."""

    def end(self) -> None:
        """End it."""

    def finish(self) -> list[tuple[float, float | None]]:
        """Stop; return each window's joules and sigma, where it has them."""


class Ours:
    def __init__(self) -> None:
        from carbon_trainer import EnergyMeter

        self._meter = EnergyMeter(host=False)
        self._meter.start()
        self.begin, self.end = self._meter.step_begin, self._meter.step_end

    def finish(self) -> list[tuple[float, float | None]]:
        self._meter.stop()
        return [(step.energy_j, step.sigma_j) for step in self._meter.steps()]


class Counter:
    """The counter read at both ends of a window: the floor for meters that do so."""

    def __init__(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        self._read = lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        self._before_mj = 0
        self._joules: list[tuple[float, float | None]] = []

    def begin(self) -> None:
        self._before_mj = self._read()

    def end(self) -> None:
        self._joules.append(((self._read() - self._before_mj) / 1000, None))

    def finish(self) -> list[tuple[float, float | None]]:
        return self._joules


class Zeus:
    def __init__(self) -> None:
        from zeus.monitor import ZeusMonitor

        self._monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
        self._joules: list[tuple[float, float | None]] = []

    def begin(self) -> None:
        self._monitor.begin_window("step", sync_execution=False)

    def end(self) -> None:
        measurement = self._monitor.end_window("step", sync_execution=False)
        self._joules.append((sum(measurement.gpu_energy.values()), None))

    def finish(self) -> list[tuple[float, float | None]]:
        return self._joules


class CodeCarbonTasks:
    def __init__(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        self._tracker = OfflineEmissionsTracker(
            country_iso_code="FRA", save_to_file=False, log_level="critical",
            output_dir=tempfile.gettempdir(), allow_multiple_runs=True,
        )  # fmt: skip
        self._joules: list[tuple[float, float | None]] = []
        self._count = 0

    def begin(self) -> None:
        self._count += 1
        self._tracker.start_task(f"step {self._count}")

    def end(self) -> None:
        emissions = self._tracker.stop_task()
        self._joules.append((emissions.gpu_energy * J_PER_KWH, None))

    def finish(self) -> list[tuple[float, float | None]]:
        self._tracker.stop()
        return self._joules


class Carbontracker:
    def __init__(self) -> None:
        from carbontracker.tracker import CarbonTracker

        self._tracker = CarbonTracker(
            epochs=100_000, epochs_before_pred=0, monitor_epochs=-1, components="gpu", verbose=0,
            ignore_errors=True, update_interval=1, log_dir=tempfile.mkdtemp(),
        )  # fmt: skip
        self.begin, self.end = self._tracker.epoch_start, self._tracker.epoch_end

    def finish(self) -> list[tuple[float, float | None]]:
        kwh = self._tracker.tracker.total_energy_per_epoch() / CARBONTRACKER_PUE
        self._tracker.stop()
        return [(float(value) * J_PER_KWH, None) for value in kwh]


class Nothing:
    def begin(self) -> None:
        """Marks nothing."""

    def end(self) -> None:
        """Marks nothing."""

    def finish(self) -> list[tuple[float, float | None]]:
        return []


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "ours": Ours,
    "counter": Counter,
    "zeus": Zeus,
    "codecarbon tasks": CodeCarbonTasks,
    "carbontracker": Carbontracker,
    "nothing": Nothing,
}

FAULTS: dict[str, Callable[[Any], None]] = {
    "none": lambda gpu: None,
    "counter reset": lambda gpu: gpu.reset(time.time_ns()),
    "GPU lost": lambda gpu: setattr(gpu, "lost", True),
    "permission gone": lambda gpu: setattr(gpu, "forbidden", True),
    "call hangs 10 s": lambda gpu: setattr(gpu, "hang_s", 10.0),
}


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Run one subject through its windows; return joules, truth, overhead and times."""
    import pynvml

    gpu = pynvml.nvmlLib.gpus[0]
    started_s = time.perf_counter()
    subject = SUBJECTS[case["subject"]]()
    start_s = time.perf_counter() - started_s
    time.sleep(2.0)
    if "fault" in case:
        later = threading.Timer(case["fault_after_s"], FAULTS[case["fault"]], [gpu])
        later.daemon = True
        later.start()
    run = _Windows(gpu, subject)
    first_ns = time.time_ns()
    for window_s, count in case["windows"]:
        run.go(window_s, count, gaps=case.get("gaps", True), busy=case.get("busy", False))
    last_ns = time.time_ns()
    started_s = time.perf_counter()
    windows: list[tuple[float, float | None]] = []
    with contextlib.suppress(Exception):
        windows = subject.finish()
    return {
        "joules": [joules for joules, _ in windows],
        "sigmas": [sigma for _, sigma in windows],
        "truth": run.truth,
        "total_truth": gpu.true_mj(first_ns, last_ns) / 1000,
        "overhead_us": run.overhead_us,
        "longest_s": run.longest_s,
        "start_s": start_s,
        "stop_s": time.perf_counter() - started_s,
        "raised": run.raised,
    }


class _Windows:
    """Windows one after another, their truth, and what marking them cost."""

    def __init__(self, gpu: Any, subject: Subject) -> None:
        self._gpu = gpu
        self._subject = subject
        self._choose = random.Random(1)
        self.truth: list[float] = []
        self.overhead_us: list[float] = []
        self.longest_s = 0.0
        self.raised = ""

    def go(self, window_s: float, count: int, *, gaps: bool, busy: bool) -> None:
        """Run windows of one length until all are done or the subject raises."""
        for _ in range(count):
            if self.raised:
                return
            try:
                self._run_window(window_s, busy=busy)
            except Exception as error:
                self.raised = type(error).__name__
            if gaps:
                time.sleep(self._choose.uniform(0.002, 0.02))

    def _run_window(self, window_s: float, *, busy: bool) -> None:
        marks_ns = [time.perf_counter_ns()]
        self._subject.begin()
        marks_ns.append(time.perf_counter_ns())
        begin_ns = time.time_ns()
        if busy:
            while time.time_ns() - begin_ns < window_s * 1e9:
                pass
        else:
            time.sleep(window_s)
        end_ns = time.time_ns()
        marks_ns.append(time.perf_counter_ns())
        self._subject.end()
        marks_ns.append(time.perf_counter_ns())
        spent_ns = marks_ns[1] - marks_ns[0] + marks_ns[3] - marks_ns[2]
        self.truth.append(self._gpu.true_mj(begin_ns, end_ns) / 1000)
        self.overhead_us.append(spent_ns / 1000)
        self.longest_s = max(self.longest_s, spent_ns / 1e9)


def sampler_share(case: dict[str, Any]) -> dict[str, Any]:
    """Return the share of a core that metering eight GPUs takes, and its threads' wakes."""
    subject = Ours()
    meter = subject._meter
    for _ in range(10):
        with meter.step():
            time.sleep(case["window_s"])
    before_s, started_s, slept = time.process_time(), time.perf_counter(), _sleeps()
    while time.perf_counter() - started_s < case["seconds"]:
        with meter.step():
            time.sleep(case["window_s"])
    seconds = time.perf_counter() - started_s
    share = (time.process_time() - before_s) / seconds
    wakes_per_s = (_sleeps() - slept) / seconds
    subject.finish()
    return {"share": share, "wakes_per_s": wakes_per_s}


def _sleeps() -> int:
    """Return how often this process's threads have gone to sleep by themselves."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


if __name__ == "__main__":
    case = json.loads(sys.argv[1])
    print(json.dumps(sampler_share(case) if case["subject"] == "sampler" else measure(case)))
