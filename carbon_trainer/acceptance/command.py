"""``carbon-train`` in a process of its own, as a user starts it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

LAST_LINES = 3


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


class Command:
    """A command that runs, and what it prints.

    Args:
        folder: where it runs.
        args: what follows ``carbon-train``.
    """

    def __init__(self, folder: Path, *args: str) -> None:
        self._began_s = time.monotonic()
        self._log = (folder / f"{args[0]}-{time.time_ns()}.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [sys.executable, "-m", "carbon_trainer", *args],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self) -> Ended:
        """Wait for its end."""
        status = self._process.wait()
        self._log.seek(0)
        out = self._log.read()
        self._log.close()
        return Ended(status, out, time.monotonic() - self._began_s)


def carbon_train(folder: Path, *args: str) -> Ended:
    """Run a command to its end."""
    return Command(folder, *args).wait()


def first_line(child: subprocess.Popen[str]) -> str:
    """Return the first line that a child prints through its pipe; empty if it prints none."""
    return "" if child.stdout is None else child.stdout.readline().strip()
