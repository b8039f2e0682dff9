"""Runs the parts one after the other within eight minutes, and gathers what they found."""

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

MOST_S = 480.0
"""How long the whole check may take, seconds."""

LEAST_S = 15.0
"""A part is not begun where less is left."""

LOG, TRACES = "acceptance.log", "traces.zip"

Document = dict[str, Any]

STARTS_AHEAD_FROM = 8
"""Cores; with fewer, a part's imports would disturb what the one before it measures."""

PACKAGES = ("torch", "lightning", "transformers", "accelerate", "peft", "codecarbon", "zeus",
            "nvidia-ml-py")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run.

    Attributes:
        folder: where document, page and logs go; it exists.
        accelerator: ``module:name`` of the accelerator.
        scale: a name of ``SCALES``.
        parts: the parts' names, in order.
        most_s: how long it may take in all, seconds.
        patience: how many times as long as on a GPU a part may take.
        environ: the parts' environment.
        starts_ahead: whether a part's process is started while the one before it measures.
    """

    folder: Path
    accelerator: str = CUDA
    scale: str = "full"
    parts: tuple[str, ...] = tuple(part.name for part in PARTS)
    most_s: float = MOST_S
    patience: float = 1.0
    environ: dict[str, str] | None = None
    starts_ahead: bool = (os.cpu_count() or 1) >= STARTS_AHEAD_FROM


def run_check(plan: Plan, tell: Callable[[PartResult, Document], None]) -> Document:
    """Run the parts; return the document.

    Args:
        plan: what to run.
        tell: takes each part's result as it comes, and the document until then.

    Raises:
        InputError: if a part's name is not known.
    """
    parts = _chosen(plan.parts)
    created = datetime.now(UTC)
    until_s = time.monotonic() + plan.most_s
    results = []
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
            result = worker.result(until_s - time.monotonic())
            results.append(result)
            tell(result, document_of(plan, created, results))
        _keep_traces(Path(work), plan.folder)
    return document_of(plan, created, results)


def _keep_traces(work: Path, folder: Path) -> None:
    """Keep what sensors showed, in one file, for a closer look."""
    traces = sorted(work.glob(f"*/*{TRACE_SUFFIX}"))
    if traces:
        with zipfile.ZipFile(folder / TRACES, "w") as together:
            for trace in traces:
                together.write(trace, trace.name)


def _chosen(names: Sequence[str]) -> list[Part]:
    known = {part.name: part for part in PARTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"there is no part {unknown[0]!r}: there are {', '.join(known)}.")
    return [known[name] for name in names]


class _Worker:
    """A part's process: it imports, and waits for the signal to begin."""

    def __init__(self, plan: Plan, part: Part, work: Path, log: TextIO) -> None:
        self._part = part
        self._most_s = part.most_s * plan.patience
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

    def result(self, left_s: float) -> PartResult:
        """Have it measure; return what it found, or what became of it.

        Args:
            left_s: how long the whole check may still take, seconds.
        """
        part = self._part
        began_s = time.monotonic()
        most_s = min(self._most_s, left_s)
        try:
            if left_s < LEAST_S:
                return PartResult(part.name, part.title, "not run", 0.0, "no time was left")
            self._process.communicate(b"begin\n", timeout=most_s)
            ended = f"it ended with status {self._process.returncode} and no result: see {LOG}"
        except subprocess.TimeoutExpired:
            ended = f"it was ended after {most_s:.0f} s: see {LOG}"
        finally:
            _end(self._process)
        if not self._to.exists():
            seconds = time.monotonic() - began_s
            return PartResult(part.name, part.title, "error", seconds, ended)
        result = PartResult.from_json(json.loads(self._to.read_text("utf-8")))
        return replace(result, reason=ended) if result.reason == UNFINISHED else result


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part and all that it has started, but for guards, which have sessions of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def document_of(plan: Plan, created: datetime, results: Sequence[PartResult]) -> Document:
    """Return what was found, as plain values."""
    return {
        "schema": SCHEMA,
        "created": created.isoformat(timespec="seconds"),
        "is_simulated": plan.accelerator != CUDA,
        "scale": plan.scale,
        "passed": all(one.status in ("passed", "not possible") for one in results),
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
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
        "parts": [one.to_json() for one in results],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
