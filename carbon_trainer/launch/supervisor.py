"""Supervises a run: restarts it after a crash, and at the planned time after a release.

It imports nothing heavy, neither torch nor what reads the ledger, so that it takes little memory
while a run trains or is released.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from carbon_trainer.clock import NS_PER_S, Clock, to_datetime
from carbon_trainer.runs.checkpoints import PATTERN, step_of
from carbon_trainer.runs.outcome import RELEASED_STATUS, SUPERVISED, asked_to_resume
from carbon_trainer.runs.signals import HANDLED, exit_status_of, signal_name

FINAL_STATUSES = (0, 2, 3, 4, 130, 143)
"""Statuses that a restart would not change: finished, bad input, budget, deadline, interrupted."""

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 300.0
POLL_INTERVAL_S = 0.5
"""How often it checks, while a run is released, for a request to resume now, seconds."""


def command_of(argv: Sequence[str], run_id: str, *, is_restart: bool) -> list[str]:
    """Return the command that a supervisor runs: the user's, for one run, without supervision.

    Args:
        argv: the user's command line.
        run_id: the run.
        is_restart: whether it was started before; it then resumes from its latest checkpoint, not
            from the one that --resume names.
    """
    flags: list[str] = []
    skip_next = False
    for arg in argv[1:]:
        if skip_next:
            skip_next = False
        elif is_restart and arg == "--resume":
            skip_next = True
        elif arg != "--supervise" and not (is_restart and arg.startswith("--resume=")):
            flags.append(arg)
    # The id is given unless the command already says which run it is.
    if not any(flag.partition("=")[0] in ("--resume", "--run-id") for flag in flags):
        flags += ["--run-id", run_id]
    return [sys.executable, "-m", "carbon_trainer", *flags]


class Supervisor:
    """Runs one command until the run ends for good.

    Args:
        command: returns the command of the first start or, given True, of a restart.
        run_id: the run.
        runs_dir: the folder that holds the runs' folders.
        return_time_ns: returns when a released run is to be resumed.
        report_failure: writes the report of a run that is given up.
        max_restarts: consecutive crashes without a new checkpoint after which it gives up.
        clock: the time.
        say: takes a message for people.
        start: starts the command with an environment; a process by default.

    Attributes:
        restarts: how often it has restarted the run after a crash.
        gave_up: whether it ended because of too many crashes.
    """

    def __init__(
        self,
        command: Callable[[bool], Sequence[str]],
        *,
        run_id: str,
        runs_dir: Path,
        return_time_ns: Callable[[], int],
        report_failure: Callable[[], object],
        max_restarts: int,
        clock: Clock,
        say: Callable[[str], None],
        start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    ) -> None:
        self._command = command
        self._has_started = False
        self._run_id = run_id
        self._run_dir = runs_dir / run_id
        self._return_time_ns = return_time_ns
        self._report_failure = report_failure
        self._max_restarts = max_restarts
        self._clock = clock
        self._say = say
        self._start = start
        self._child: subprocess.Popen[bytes] | None = None
        self._signal = 0
        self._interrupted = threading.Event()
        self._crashes = 0
        self.restarts = 0
        self.gave_up = False

    def run(self) -> int:
        """Run to the end; return the exit status of the last start."""
        with self._signals():
            while not self._signal:
                step_before = self._latest_step()
                status = self._run_once()
                if self._signal:
                    return status if status in FINAL_STATUSES else exit_status_of(self._signal)
                if status == RELEASED_STATUS:
                    self._wait_for_return()
                    continue
                if status in FINAL_STATUSES:
                    return status
                if not self._wait_after_crash(status, step_before):
                    if self.gave_up:
                        self._report_failure()
                    return status if 0 < status < 128 else 1
            return exit_status_of(self._signal)

    # Inside

    def _run_once(self) -> int:
        environ = {**os.environ, SUPERVISED: self._run_id}
        self._child = self._start(list(self._command(self._has_started)), env=environ)
        self._has_started = True
        if self._signal:
            # It came while the child was being started, so the handler had none to forward it to.
            self._forward(self._signal)
        try:
            return self._child.wait()
        finally:
            self._child = None

    def _wait_for_return(self) -> None:
        """Wait until the run is to be resumed, or until a signal comes."""
        until_ns = self._return_time_ns()
        self._say(
            f"the run is released until {to_datetime(until_ns):%Y-%m-%d %H:%M:%S} UTC; to resume "
            f"now: carbon-train runs resume-now {self._run_id}"
        )
        while (remaining_ns := until_ns - self._clock.now_ns()) > 0:
            if self._clock.wait(min(POLL_INTERVAL_S, remaining_ns / NS_PER_S), self._interrupted):
                return
            if asked_to_resume(self._run_dir):
                self._say("resuming now, as requested")
                return

    def _wait_after_crash(self, status: int, step_before: int) -> bool:
        """Wait longer after each crash; False if there were too many or a signal came."""
        has_progressed = self._latest_step() > step_before
        self._crashes = 1 if has_progressed else self._crashes + 1
        ending = f"was killed by {signal_name(-status)}" if status < 0 else f"ended with {status}"
        if self._crashes > self._max_restarts:
            self.gave_up = True
            self._say(
                f"the run {ending}; it is given up after {self._max_restarts} restarts without a "
                "new checkpoint"
            )
            return False
        self.restarts += 1
        wait_s = min(FIRST_BACKOFF_S * 2 ** (self._crashes - 1), LONGEST_BACKOFF_S)
        self._say(f"the run {ending}; it resumes from its latest checkpoint in {wait_s:g} s")
        until_ns = self._clock.now_ns() + round(wait_s * NS_PER_S)
        while (remaining_ns := until_ns - self._clock.now_ns()) > 0:
            if self._clock.wait(min(POLL_INTERVAL_S, remaining_ns / NS_PER_S), self._interrupted):
                return False
        return True

    def _latest_step(self) -> int:
        checkpoints = (self._run_dir / "checkpoints").glob(PATTERN)
        return max((step_of(path) for path in checkpoints), default=-1)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Forward signals to the run, which answers them with a checkpoint."""
        handlers = {number: signal.signal(number, self._handle) for number in HANDLED}
        # The program that execs this one blocks them, so that none arrives before the handlers.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        self._interrupted.set()
        self._forward(number)

    def _forward(self, number: int) -> None:
        child = self._child
        # Ctrl-C reaches the run by itself: it is in the terminal's process group.
        if child is not None and child.poll() is None and number != signal.SIGINT:
            child.send_signal(number)
