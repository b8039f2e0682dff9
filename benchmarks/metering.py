"""Accuracy and cost of meters: ours, Zeus, CodeCarbon's tasks, carbontracker.

All read the same simulated NVML library (tests/simulation), each in a separate process, in turns.
``pip install -e '.[benchmarks]'``, then ``python -m benchmarks.metering``, on an otherwise idle
machine: a quarter of an hour; ``--quick`` takes some minutes. Peers that are not installed are left
out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("metering_subjects.py")
PACKAGES = {"zeus": "zeus", "codecarbon tasks": "codecarbon", "carbontracker": "carbontracker"}
WINDOWS = {0.01: 150, 0.05: 60, 0.2: 25, 1.0: 5}
QUICK_WINDOWS = {0.01: 60, 0.05: 40, 0.2: 15}
FAULTS = ("counter reset", "GPU lost", "no counter", "permission gone", "call hangs 10 s")
EPOCHS_ONLY = "carbontracker"
"""Samples power each second, so only its windows of a second are measured."""


@dataclass(frozen=True)
class Figures:
    """One subject's results in one case.

    Attributes:
        error: mean absolute error of a window over the mean truth; None if it reported none.
        total_error: of all windows together.
        overhead_us: median on the training thread, a window, microseconds.
        within_two_sigma: share of windows; None where no sigma was reported.
        start_s: how long the start blocked.
        stop_s: how long the stop blocked.
        longest_s: the longest that one window's calls blocked.
        raised: the exception that reached the loop.
    """

    error: float | None
    total_error: float | None
    overhead_us: float
    within_two_sigma: float | None
    start_s: float
    stop_s: float
    longest_s: float
    raised: str


def figures_of(results: dict[str, Any], first: int = 0, count: int | None = None) -> Figures:
    """Compare a subject's results with the truth.

    Args:
        results: the subject's.
        first: the first window that counts.
        count: how many do; None for all that follow.
    """
    part = slice(first, None if count is None else first + count)
    joules, truth, sigmas = (results[name][part] for name in ("joules", "truth", "sigmas"))
    complete = len(results["joules"]) >= len(results["truth"])
    errors = (
        [abs(value - true) for value, true in zip(joules, truth, strict=False)] if complete else []
    )
    pairs = [
        (error, sigma) for error, sigma in zip(errors, sigmas, strict=False) if sigma is not None
    ]
    hits = [error <= 2 * sigma for error, sigma in pairs]
    return Figures(
        error=statistics.fmean(errors) / statistics.fmean(truth) if errors else None,
        total_error=sum(joules) / sum(truth) - 1 if joules and truth else None,
        overhead_us=statistics.median(results["overhead_us"][part] or [0.0]),
        within_two_sigma=statistics.fmean(hits) if hits else None,
        start_s=results["start_s"],
        stop_s=results["stop_s"],
        longest_s=results["longest_s"],
        raised=results["raised"],
    )


class Bench:
    """Runs subjects on simulated GPUs."""

    def __init__(self, *, quick: bool) -> None:
        self.windows = QUICK_WINDOWS if quick else WINDOWS
        self.subjects = ["ours", "counter"]
        self.subjects += [name for name, package in PACKAGES.items() if _version(package)]
        self._shim = _nvidia_smi()

    def run(self, case: dict[str, Any], **gpu: Any) -> dict[str, Any]:
        """Return a subject's results in one case."""
        return self.run_on([{"uuid": "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77", **gpu}], case)

    def run_on(self, gpus: list[dict[str, Any]], case: dict[str, Any]) -> dict[str, Any]:
        """Return a subject's results in one case on these GPUs."""
        paths = (ROOT / "tests" / "simulation" / "site", ROOT)
        environ = {
            **os.environ,
            "SIMULATED_NVML": json.dumps(gpus),
            "SIMULATED_NVML_ROOT": str(ROOT),
            "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
            "PATH": f"{self._shim}{os.pathsep}{os.environ['PATH']}",
        }
        process = subprocess.run(
            [sys.executable, str(WORKER), json.dumps(case)],
            env=environ, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        lines = [line for line in process.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise click.ClickException(f"{case}: {process.stderr.strip().splitlines()[-1:]}")
        return dict(json.loads(lines[-1]))

    def accuracy(self, subjects: Sequence[str], **gpu: Any) -> dict[tuple[str, float], Figures]:
        """Return each subject's figures for each window, one process a subject."""
        figures = {}
        for subject in subjects:
            few = subject == EPOCHS_ONLY
            windows = [(w, n) for w, n in self.windows.items() if w >= 1 or not few]
            if not windows:
                continue
            results = self.run({"subject": subject, "windows": windows}, **gpu)
            first = 0
            for window_s, count in windows:
                figures[subject, window_s] = figures_of(results, first, count)
                first += count
        return figures

    def whole(self, subject: str, seconds: float, **gpu: Any) -> Figures:
        """Return a subject's figures for steps of 100 ms back to back."""
        windows = [(0.1, round(seconds / 0.1))]
        return figures_of(self.run({"subject": subject, "windows": windows, "gaps": False}, **gpu))

    def cost_us(self, subject: str) -> float:
        """Return what marking a window costs a busy thread, microseconds."""
        case = {"subject": subject, "windows": [(0.002, 500)], "gaps": False, "busy": True}
        return figures_of(self.run(case, wave="square", refresh_s=0.1)).overhead_us

    def fault(self, subject: str, fault: str) -> tuple[dict[str, Any], Figures]:
        """Return a subject's results with a fault after half of six seconds."""
        case: dict[str, Any] = {
            "subject": subject, "windows": [(0.1, 60)], "gaps": False, "fault_after_s": 3.0,
            "fault": "none" if fault == "no counter" else fault,
        }  # fmt: skip
        results = self.run(case, wave="square", has_counter=fault != "no counter")
        return results, figures_of(results)


def accuracy_table(bench: Bench, subjects: Sequence[str], title: str, **gpu: Any) -> Iterator[str]:
    """Print one table of errors, a row a subject, with their ratio to ours."""
    windows = list(bench.windows)
    figures = bench.accuracy(subjects, **gpu)
    yield f"\n**{title}**\n"
    yield "| meter | " + " | ".join(f"{1000 * w:.0f} ms" for w in windows) + " |"
    yield "|---" * (len(windows) + 1) + "|"
    for subject in subjects:
        rows = [figures.get((subject, window)) for window in windows]
        cells = [
            _error(row, figures.get(("ours", window)))
            for row, window in zip(rows, windows, strict=True)
        ]
        yield f"| {subject} | " + " | ".join(cells) + " |"


def whole_table(bench: Bench, seconds: float) -> Iterator[str]:
    """Print the error of a whole run, and how long start and stop block."""
    yield f"\n**A whole run of {seconds:.0f} s, steps of 100 ms back to back**\n"
    yield "| meter | 20 ms counter | 100 ms counter | start s | stop s |"
    yield "|---|---|---|---|---|"
    for subject in bench.subjects:
        rows = [bench.whole(subject, seconds, wave="square", refresh_s=r) for r in (0.02, 0.1)]
        errors = " | ".join(_percent(row.total_error, sign=True) for row in rows)
        yield f"| {subject} | {errors} | {rows[1].start_s:.3f} | {rows[1].stop_s:.2f} |"


def fault_table(bench: Bench) -> Iterator[str]:
    """Print each subject's results with each fault: error of the total, effect on the loop."""
    yield "\n**Faults at half time of 6 s: error of the total, and effect on the loop**\n"
    subjects = [name for name in bench.subjects if name != "counter"]
    yield "| fault | " + " | ".join(subjects) + " |"
    yield "|---" * (len(subjects) + 1) + "|"
    for fault in FAULTS:
        cells = []
        for subject in subjects:
            results, row = bench.fault(subject, fault)
            effect = row.raised or (f"blocked {row.longest_s:.1f} s" if row.longest_s > 1 else "")
            error = results["joules"] and sum(results["joules"]) / results["total_truth"] - 1
            cells.append(", ".join(filter(None, [_percent(error or None, sign=True), effect])))
        yield f"| {fault} | " + " | ".join(cells) + " |"


def sigma_table(bench: Bench) -> Iterator[str]:
    """Print how often the truth lies within two sigma of our figures."""
    yield "\n**Ours: error, and share of windows whose truth lies within two sigma**\n"
    yield "| wave | counter | " + " | ".join(f"{1000 * w:.0f} ms" for w in bench.windows) + " |"
    yield "|---" * (len(bench.windows) + 2) + "|"
    shares = []
    for wave in ("square", "ramp", "bursts", "training"):
        for refresh_s in (0.02, 0.1):
            figures = bench.accuracy(["ours"], wave=wave, refresh_s=refresh_s)
            cells = []
            for row in figures.values():
                shares.append(row.within_two_sigma or 0.0)
                cells.append(f"{_percent(row.error)} ({row.within_two_sigma or 0:.0%})")
            yield f"| {wave} | {1000 * refresh_s:.0f} ms | " + " | ".join(cells) + " |"
    yield f"\nAll together: {statistics.fmean(shares):.1%} within two sigma."


def cost_table(bench: Bench) -> Iterator[str]:
    """Print what marking a window costs a training thread that is busy."""
    yield "\n**Cost on the training thread, windows of 2 ms, calls that cost nothing**\n"
    yield "| meter | µs a window | over nothing | times ours |"
    yield "|---|---|---|---|"
    nothing_us, ours_us = bench.cost_us("nothing"), bench.cost_us("ours")
    for subject in bench.subjects:
        cost_us = ours_us if subject == "ours" else bench.cost_us(subject)
        over_us = cost_us - nothing_us
        times = over_us / max(ours_us - nothing_us, 0.1)
        yield f"| {subject} | {cost_us:,.1f} | {over_us:,.1f} | {times:,.0f} |"


def cost_lines(bench: Bench) -> Iterator[str]:
    """Print what sampling eight GPUs costs."""
    yield "\n**Sampling eight GPUs** (the simulated library's own Python is in the figures)\n"
    for refresh_s, window_s in ((0.1, 0.2), (0.1, 1.0), (0.02, 1.0), (0.02, 0.2)):
        gpus = [{"uuid": f"GPU-{n}", "wave": "square", "refresh_s": refresh_s} for n in range(8)]
        case = {"subject": "sampler", "seconds": 8, "window_s": window_s}
        sampling = bench.run_on(gpus, case)
        title = f"counters of {1000 * refresh_s:.0f} ms, steps of {1000 * window_s:.0f} ms"
        yield f"- {title}: {sampling['share']:.1%} of a core, {sampling['wakes_per_s']:.0f} wakes/s"


@click.command()
@click.option("--quick", is_flag=True, help="Fewer windows and no irregular waves.")
def main(*, quick: bool) -> None:
    """Print the tables as Markdown."""
    bench = Bench(quick=quick)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    names = ["carbon-trainer", *(PACKAGES[n] for n in bench.subjects if n in PACKAGES)]
    click.echo(", ".join(f"{name} {_version(name)}" for name in names) + f"; load {load}")
    for line in _report(bench, quick=quick):
        click.echo(line)


def _report(bench: Bench, *, quick: bool) -> Iterator[str]:
    for refresh_s in (0.02, 0.1):
        title = f"Square wave 100/700 W of 0.37 s, {1000 * refresh_s:.0f} ms counter"
        yield from accuracy_table(bench, bench.subjects, title, wave="square", refresh_s=refresh_s)
    yield from cost_table(bench)
    yield from whole_table(bench, 6 if quick else 20)
    few = ["ours", *(["zeus"] if "zeus" in bench.subjects else [])]
    for refresh_s in (0.02, 0.1):
        title = f"The same, each call costs 3 ms, {1000 * refresh_s:.0f} ms counter"
        yield from accuracy_table(
            bench, few, title, wave="square", refresh_s=refresh_s, read_s=0.003
        )
    if not quick:
        for wave in ("ramp", "bursts", "training"):
            yield from accuracy_table(
                bench, few, f"{wave}, 100 ms counter", wave=wave, refresh_s=0.1
            )
        yield from sigma_table(bench)
    yield from fault_table(bench)
    yield from cost_lines(bench)


def _error(row: Figures | None, reference: Figures | None) -> str:
    if row is None or row.error is None:
        return "–"
    if reference is None or reference.error is None or row is reference:
        return _percent(row.error)
    return f"{_percent(row.error)} ({row.error / reference.error:,.0f} ×)"


def _percent(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "no result"
    return f"{100 * value:+.2f} %" if sign else f"{100 * value:.2f} %"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _nvidia_smi() -> str:
    """Return a folder with a program of this name: CodeCarbon looks for no GPU without it."""
    folder = Path(tempfile.mkdtemp())
    shim = folder / "nvidia-smi"
    shim.write_text("#!/bin/sh\nexit 0\n")
    shim.chmod(0o755)
    return str(folder)


if __name__ == "__main__":
    main()
