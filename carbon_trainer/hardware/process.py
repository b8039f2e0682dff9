"""The identity of a process among all of its machine, past ones too: ids are used again."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

SAME_START_S = 0.5
"""Starts no further apart are one: the kernel counts them in hundredths of a second, and no id is
used again so soon."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of this machine, by its id and by when it started.

    Attributes:
        pid: its id.
        started_s: seconds from the machine's boot to its start. Seconds since the epoch would not
            do: a step of the machine's clock moves them for a process that runs already.
        boot_id: of the boot, as ``boot_id`` returns it.
    """

    pid: int
    started_s: float
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return that of the process which has an id now.

        Raises:
            ProcessLookupError: if there is none, or only one that has ended.
        """
        # Asked first: older versions of psutil use the answer for the process's own start too.
        booted_s = psutil.boot_time()
        try:
            process = psutil.Process(pid)
            # Ended, but its parent has not waited for it.
            if process.status() == psutil.STATUS_ZOMBIE:
                raise ProcessLookupError(f"process {pid} has ended")
            return cls(pid, round(process.create_time() - booted_s, 2), boot_id())
        except psutil.Error as error:
            raise ProcessLookupError(f"there is no process {pid} to be seen") from error

    @classmethod
    def current(cls) -> Self:
        """Return this process's."""
        return cls.of(os.getpid())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``str`` has written.

        Raises:
            ValueError: if the text is none.
        """
        pid, started_s, boot = text.split("-", 2)
        return cls(int(pid), float(started_s), boot)

    def __str__(self) -> str:
        return f"{self.pid}-{self.started_s:.2f}-{self.boot_id}"

    def is_alive(self) -> bool:
        """Say whether it still runs."""
        try:
            now = ProcessIdentity.of(self.pid)
        except ProcessLookupError:
            return False
        return now.boot_id == self.boot_id and abs(now.started_s - self.started_s) < SAME_START_S


def age_s() -> float:
    """Return how long this process has been running, seconds."""
    return time.time() - psutil.Process().create_time()


def boot_id() -> str:
    """Return an id of this machine's present boot."""
    kernels = Path("/proc/sys/kernel/random/boot_id")
    if kernels.exists():
        return kernels.read_text(encoding="ascii").strip()
    return f"{psutil.boot_time():.0f}"


def pid_space() -> str:
    """Return an id of the space of process ids: a container has its own; empty if unknown."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
