"""Runs ``carbon-train`` in a separate process, as a user does."""

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
"""Keeps a part's runs in its folder, whatever ledger the environment sets."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command.

    Attributes:
        status: its exit status.
        output: its output.
        seconds: its duration.
    """

    status: int
    output: str
    seconds: float

    @property
    def last_lines(self) -> str:
        """The last lines of its output, joined."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return " ".join(lines[-LAST_LINES:])


def _environment() -> dict[str, str]:
    """Return this process's environment with absolute paths, for a process in another folder."""
    environ = dict(os.environ)
    if paths := environ.get("PYTHONPATH"):
        absolute = (str(Path(path).absolute()) for path in paths.split(os.pathsep) if path)
        environ["PYTHONPATH"] = os.pathsep.join(absolute)
    return environ


def carbon_train(folder: Path, *args: str) -> CommandResult:
    """Run a command to its end.

    Args:
        folder: its working directory.
        args: what follows ``carbon-train``.
    """
    started_s = time.monotonic()
    process = subprocess.run(  # noqa: S603 - this interpreter, this package
        [sys.executable, "-m", "carbon_trainer", *args],
        cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return CommandResult(process.returncode, process.stdout, time.monotonic() - started_s)


def check_exit_status(
    findings: Findings, name: str, result: CommandResult, expected: int = 0
) -> bool:
    """Check an exit status; the output of a command with another one goes into the log.

    Args:
        findings: takes the check.
        name: the command, for people.
        result: the command's result.
        expected: the expected exit status.

    Returns:
        Whether it has that status.
    """
    text = f"exit status {result.status} after {result.seconds:.0f} s"
    if result.status != expected:
        print(result.output)  # noqa: T201 - into the log
        text += f": {result.last_lines[:300]}"
    findings.check(f"{name}: exit status {expected}", result.status == expected, text)
    return result.status == expected


def first_line(child: subprocess.Popen[str]) -> str:
    """Return the first line that a child prints through its pipe; empty if it prints none."""
    return "" if child.stdout is None else child.stdout.readline().strip()
