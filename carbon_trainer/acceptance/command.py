"""``carbon-train`` in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from carbon_trainer.acceptance.findings import Findings

LAST_LINES = 3

RUNS = ("--runs-dir", "carbon_runs", "--ledger", "carbon_runs/ledger.sqlite")
"""Keeps the runs of a part in its folder, whatever the environment says of ledgers."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status.
        out: what it printed.
        seconds: how long it took.
    """

    status: int
    out: str
    seconds: float

    @property
    def last(self) -> str:
        """The last lines that it printed, in one."""
        lines = [line.strip() for line in self.out.splitlines() if line.strip()]
        return " ".join(lines[-LAST_LINES:])


def _environment() -> dict[str, str]:
    """Return this process's environment, for a process in another folder."""
    environ = dict(os.environ)
    if paths := environ.get("PYTHONPATH"):
        whole = (str(Path(path).absolute()) for path in paths.split(os.pathsep) if path)
        environ["PYTHONPATH"] = os.pathsep.join(whole)
    return environ


def carbon_train(folder: Path, *args: str) -> Ended:
    """Run a command to its end.

    Args:
        folder: where it runs.
        args: what follows ``carbon-train``.
    """
    began_s = time.monotonic()
    done = subprocess.run(  # noqa: S603 - this interpreter, this package
        [sys.executable, "-m", "carbon_trainer", *args],
        cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, time.monotonic() - began_s)


def ended_with(findings: Findings, what: str, ended: Ended, status: int = 0) -> bool:
    """Check an exit status; what a command printed that ended otherwise goes into the log.

    Args:
        findings: where the check is noted.
        what: the command, for people.
        ended: how it ended.
        status: how it was to end.

    Returns:
        Whether it did.
    """
    found = f"exit status {ended.status} after {ended.seconds:.0f} s"
    if ended.status != status:
        print(ended.out)  # noqa: T201 - into the log
        found += f": {ended.last[:300]}"
    findings.check(f"{what}: exit status {status}", ended.status == status, found)
    return ended.status == status


def first_line(child: subprocess.Popen[str]) -> str:
    """Return the first line that a child prints through its pipe; empty if it prints none."""
    return "" if child.stdout is None else child.stdout.readline().strip()
