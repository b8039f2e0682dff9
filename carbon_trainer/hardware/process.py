"""The identity of a process among all of its machine, past ones too: ids are reused."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

SAME_START_S = 0.5
"""Starts no further apart are the same: the kernel counts them in hundredths of a second, and no id
is reused so soon."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of this machine, identified by its id and by when it started.

    Attributes:
        pid: its id.
        started_s: seconds from the machine's boot to its start. Not seconds since the epoch: a step
            of the machine's clock changes them for a process that runs already.
        boot_id: the boot, as ``boot_id`` returns it.
    """

    pid: int
    started_s: float
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the identity of the process that has an id now.

        Raises:
            ProcessLookupError: if there is none, or it has ended.
        """
        # Called first: older versions of psutil use its result for the process's own start too.
        booted_s = psutil.boot_time()
        try:
            process = psutil.Process(pid)
            # It has ended, but its parent has not waited for it: its id is still listed.
            if process.status() == psutil.STATUS_ZOMBIE:
                raise ProcessLookupError(f"process {pid} has ended")
            return cls(pid, round(process.create_time() - booted_s, 2), boot_id())
        except psutil.Error as error:
            raise ProcessLookupError(f"no process {pid} is visible") from error

    @classmethod
    def current(cls) -> Self:
        """Return the identity of this process."""
        return cls.of(os.getpid())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the identity that ``str`` has formatted.

        Raises:
            ValueError: if the text is not an identity.
        """
        pid, started_s, boot = text.split("-", 2)
        return cls(int(pid), float(started_s), boot)

    def __str__(self) -> str:
        return f"{self.pid}-{self.started_s:.2f}-{self.boot_id}"

    def is_alive(self) -> bool:
        """Return whether it still runs."""
        try:
            current = ProcessIdentity.of(self.pid)
        except ProcessLookupError:
            return False
        is_same_start = abs(current.started_s - self.started_s) < SAME_START_S
        return current.boot_id == self.boot_id and is_same_start


def age_s() -> float:
    """Return how long this process has been running, seconds."""
    return time.time() - psutil.Process().create_time()


def boot_id() -> str:
    """Return an id of this machine's current boot."""
    path = Path("/proc/sys/kernel/random/boot_id")
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    return f"{psutil.boot_time():.0f}"


def pid_space() -> str:
    """Return an id of the process id namespace: a container has its own; empty if unknown."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
