"""Runs the parts one after the other within eight minutes, and collects their findings."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from carbon_trainer import __version__
from carbon_trainer.acceptance.accelerator import CUDA
from carbon_trainer.acceptance.findings import SCHEMA, PartResult
from carbon_trainer.acceptance.parts import PARTS, Part
from carbon_trainer.acceptance.sensors import TRACE_SUFFIX
from carbon_trainer.acceptance.worker import UNFINISHED
from carbon_trainer.errors import InputError
from carbon_trainer.hardware import machine

MAX_S = 480.0
"""Time limit of the whole check, seconds."""

MIN_PART_S = 15.0
"""A part is not started with less time remaining, seconds."""

LOG, TRACES = "acceptance.log", "traces.zip"

Document = dict[str, Any]

MIN_CORES_TO_START_AHEAD = 8
"""With fewer cores, a part's imports would disturb the measurements of the one before it."""

PACKAGES = ("torch", "lightning", "transformers", "accelerate", "peft", "codecarbon", "zeus",
            "nvidia-ml-py")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a check.

    Attributes:
        folder: existing folder for document, page and logs.
        accelerator: ``module:name`` of the accelerator.
        scale: a name of ``SCALES``.
        parts: the parts' names, in order.
        max_s: time limit of the whole check, seconds.
        time_factor: factor of each part's time limit, for GPUs that are simulated.
        environ: the parts' environment variables.
        starts_ahead: whether a part's process is started while the one before it measures.
    """

    folder: Path
    accelerator: str = CUDA
    scale: str = "full"
    parts: tuple[str, ...] = tuple(part.name for part in PARTS)
    max_s: float = MAX_S
    time_factor: float = 1.0
    environ: dict[str, str] | None = None
    starts_ahead: bool = (os.cpu_count() or 1) >= MIN_CORES_TO_START_AHEAD


def run_check(plan: Plan, report: Callable[[PartResult, Document], None]) -> Document:
    """Run the parts; return the document.

    Args:
        plan: the settings.
        report: called with each part's result when it ends, and the document so far.

    Raises:
        InputError: if a part's name is unknown.
    """
    parts = _parts_of(plan.parts)
    header = document_header(plan, datetime.now(UTC))
    deadline_s = time.monotonic() + plan.max_s
    results: list[PartResult] = []
    with (
        tempfile.TemporaryDirectory(prefix="carbon-acceptance-") as work,
        (plan.folder / LOG).open("a", encoding="utf-8") as log,
    ):
        waiting: _Worker | None = None
        for part, following in zip_longest(parts, parts[1:]):
            worker = waiting or _Worker(plan, part, Path(work), log)
            waiting = None
            if following is not None and plan.starts_ahead:
                waiting = _Worker(plan, following, Path(work), log)
            result = worker.result(deadline_s - time.monotonic())
            results.append(result)
            report(result, document_of(header, results))
        _keep_traces(Path(work), plan.folder)
    return document_of(header, results)


def _keep_traces(work: Path, folder: Path) -> None:
    """Save the sensors' traces in one file, for analysis."""
    traces = sorted(work.glob(f"*/*{TRACE_SUFFIX}"))
    if traces:
        with zipfile.ZipFile(folder / TRACES, "w") as archive:
            for trace in traces:
                archive.write(trace, trace.name)


def _parts_of(names: Sequence[str]) -> list[Part]:
    by_name = {part.name: part for part in PARTS}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise InputError(f"there is no part {unknown[0]!r}: there are {', '.join(by_name)}.")
    return [by_name[name] for name in names]


class _Worker:
    """A part's process: it imports, and waits for the signal to start."""

    def __init__(self, plan: Plan, part: Part, work: Path, log: TextIO) -> None:
        self._part = part
        self._max_s = part.max_s * plan.time_factor
        self._to = work / f"{part.name}.json"
        folder = work / part.name
        folder.mkdir()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [
                sys.executable, "-m", "carbon_trainer.acceptance.worker", part.name,
                "--accelerator", plan.accelerator, "--scale", plan.scale,
                "--folder", str(folder), "--to", str(self._to),
            ],
            env=plan.environ, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def result(self, remaining_s: float) -> PartResult:
        """Have it measure; return its result, or why it has none.

        Args:
            remaining_s: remaining time of the whole check, seconds.
        """
        part = self._part
        started_s = time.monotonic()
        max_s = min(self._max_s, remaining_s)
        try:
            if remaining_s < MIN_PART_S:
                return PartResult(part.name, part.title, "not run", 0.0, "no time was left")
            self._process.communicate(b"begin\n", timeout=max_s)
            reason = f"it ended with status {self._process.returncode} and no result: see {LOG}"
        except subprocess.TimeoutExpired:
            reason = f"it was killed after {max_s:.0f} s: see {LOG}"
        finally:
            _kill(self._process)
        if not self._to.exists():
            seconds = time.monotonic() - started_s
            return PartResult(part.name, part.title, "error", seconds, reason)
        result = PartResult.from_json(json.loads(self._to.read_text("utf-8")))
        return replace(result, reason=reason) if result.reason == UNFINISHED else result


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a part and its child processes, except guards, which have sessions of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def document_header(plan: Plan, created: datetime) -> Document:
    """Return the fields that a check's documents share: settings, machine and versions.

    Described once, before the parts run: the load of the machine is then not their own, and finding
    versions and processor again after each part would take time from the next one.
    """
    return {
        "schema": SCHEMA,
        "created": created.isoformat(timespec="seconds"),
        "is_simulated": plan.accelerator != CUDA,
        "scale": plan.scale,
        "machine": {
            "system": machine.operating_system(),
            "processor": machine.cpu_name(),
            "cores": machine.cpu_cores(),
            "memory_gib": round(machine.memory_bytes() / 2**30, 1),
            "load": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "carbon-trainer": __version__,
            "python": platform.python_version(),
            **{name: number for name in PACKAGES if (number := _version(name))},
        },
    }


def document_of(header: Document, results: Sequence[PartResult]) -> Document:
    """Return the document of the results so far, as plain values."""
    return {
        **header,
        "passed": all(result.status in ("passed", "not possible") for result in results),
        "parts": [result.to_json() for result in results],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
