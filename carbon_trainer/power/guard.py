"""A small process that outlives a killed run by a moment, to restore its GPUs' limits.

It waits for the run's process to end, of which the kernel notifies it at once, or for the journal
to be gone: then the run has restored everything itself.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from carbon_trainer.hardware.process import ProcessIdentity
from carbon_trainer.power.journal import put_back

POLL_INTERVAL_S = 0.5
"""How often it checks whether it is still needed, seconds."""


def start_guard(journal: Path) -> subprocess.Popen[bytes]:
    """Start a guard over this process; it ends by itself once the journal is gone.

    It has a session of its own, so that what ends the run's process group does not end it.
    """
    arguments = [str(ProcessIdentity.current()), str(journal)]
    return subprocess.Popen(  # noqa: S603 - this interpreter, this package
        [sys.executable, "-m", "carbon_trainer.power.guard", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def watch(owner: ProcessIdentity, journal: Path) -> int:
    """Wait for a process to end, then put back what its journal says.

    Args:
        owner: the process; it may have ended already, and its id may belong to another by now.
        journal: the limits that it has changed.

    Returns:
        The exit status: 0, or 1 if something could not be put back.
    """
    # What ends the run must not end its guard: it is needed just then.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    owner_exit = _ProcessExit(owner)
    while not owner_exit.wait(POLL_INTERVAL_S):
        if not journal.exists():
            return 0
    _, failures = put_back(journal)
    return 1 if failures else 0


class _ProcessExit:
    """The end of a process, to wait for; through a pidfd where the system has them."""

    def __init__(self, owner: ProcessIdentity) -> None:
        self._fd: int | None = None
        self._process: psutil.Process | None = None
        try:
            self._fd = os.pidfd_open(owner.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):
            try:
                self._process = psutil.Process(owner.pid)
            except psutil.NoSuchProcess:
                return
        # Only now: before the descriptor is open the id may pass to another process, and from then
        # on the descriptor stands for the one that has it.
        if not owner.is_alive():
            self._fd = self._process = None

    def wait(self, seconds: float) -> bool:
        """Wait for some time at most; whether the process has ended."""
        if self._fd is not None:
            return bool(select.select([self._fd], [], [], seconds)[0])
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except psutil.TimeoutExpired:
            return False
        return True


if __name__ == "__main__":
    sys.exit(watch(ProcessIdentity.parse(sys.argv[1]), Path(sys.argv[2])))
