"""Stays beside a run: starts it again after a crash, and at the planned time after a release.

It imports nothing heavy, neither torch nor what reads the ledger, so that little stays in memory
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

FINAL = (0, 2, 3, 4, 130, 143)
"""Ends that a restart would not change: done, bad input, budget, deadline, asked to end."""

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 300.0
LOOK_S = 0.5
"""How often it looks, while a run is released, whether somebody wants it now, seconds."""


def command_of(argv: Sequence[str], run_id: str, *, again: bool) -> list[str]:
    """Return the command that a supervisor runs: the user's own, for one run, unsupervised.

    Args:
        argv: what the user typed.
        run_id: the run.
        again: whether it was started before; it then goes on from its newest checkpoint, not
            from where --resume says.
    """
    flags: list[str] = []
    skipped = False
    for arg in argv[1:]:
        if skipped:
            skipped = False
        elif again and arg == "--resume":
            skipped = True
        elif arg != "--supervise" and not (again and arg.startswith("--resume=")):
            flags.append(arg)
    told = ("--resume", "--run-id")
    if not any(flag in told or flag.startswith(("--resume=", "--run-id=")) for flag in flags):
        flags += ["--run-id", run_id]
    return [sys.executable, "-m", "carbon_trainer", *flags]


class Supervisor:
    """Runs one command until the run ends for good.

    Args:
        command: returns what starts the run or, if told so, what goes on with it.
        run_id: the run.
        runs_dir: where runs have their folders.
        return_time_ns: asks when a run that is released wants to come back.
        report_failure: writes the report of a run that is given up.
        max_restarts: crashes without a new checkpoint between them after which it gives up.
        clock: the time.
        say: takes a sentence for people.
        start: starts the command with an environment; a process by default.

    Attributes:
        restarts: how often it has started the run again after a crash.
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
        self._started = False
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
        self._signalled = threading.Event()
        self._crashes = 0
        self.restarts = 0
        self.gave_up = False

    def run(self) -> int:
        """Run to the end; return the exit status of the last start."""
        with self._signals():
            while not self._signal:
                before = self._newest_step()
                status = self._once()
                if self._signal:
                    return status if status in FINAL else exit_status_of(self._signal)
                if status == RELEASED_STATUS:
                    self._wait_for_return()
                    continue
                if status in FINAL:
                    return status
                if not self._wait_after_crash(status, before):
                    if self.gave_up:
                        self._report_failure()
                    return status if 0 < status < 128 else 1
            return exit_status_of(self._signal)

    # Inside

    def _once(self) -> int:
        environ = {**os.environ, SUPERVISED: self._run_id}
        self._child = self._start(list(self._command(self._started)), env=environ)
        self._started = True
        if self._signal:  # it came while the child was being made
            self._pass_on(self._signal)
        try:
            return self._child.wait()
        finally:
            self._child = None

    def _wait_for_return(self) -> None:
        """Wait until the run wanted to come back, or until a signal comes."""
        until_ns = self._return_time_ns()
        self._say(
            f"the run is released until {to_datetime(until_ns):%Y-%m-%d %H:%M:%S} UTC; to go on "
            f"now: carbon-train runs resume-now {self._run_id}"
        )
        while (left_ns := until_ns - self._clock.now_ns()) > 0:
            if self._clock.wait(min(LOOK_S, left_ns / NS_PER_S), self._signalled):
                return
            if asked_to_resume(self._run_dir):
                self._say("somebody asked for it: going on now")
                return

    def _wait_after_crash(self, status: int, step_before: int) -> bool:
        """Wait longer after each crash; False if there were too many or a signal came."""
        progressed = self._newest_step() > step_before
        self._crashes = 1 if progressed else self._crashes + 1
        how = f"was killed by {signal_name(-status)}" if status < 0 else f"ended with {status}"
        if self._crashes > self._max_restarts:
            self.gave_up = True
            self._say(
                f"the run {how}; it is given up after {self._max_restarts} restarts that brought "
                "no new checkpoint"
            )
            return False
        self.restarts += 1
        wait_s = min(FIRST_BACKOFF_S * 2 ** (self._crashes - 1), LONGEST_BACKOFF_S)
        self._say(f"the run {how}; it goes on from its newest checkpoint in {wait_s:g} s")
        until_ns = self._clock.now_ns() + round(wait_s * NS_PER_S)
        while (left_ns := until_ns - self._clock.now_ns()) > 0:
            if self._clock.wait(min(LOOK_S, left_ns / NS_PER_S), self._signalled):
                return False
        return True

    def _newest_step(self) -> int:
        found = (self._run_dir / "checkpoints").glob(PATTERN)
        return max((step_of(path) for path in found), default=-1)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Pass signals on to the run, which answers them with a checkpoint."""
        before = {number: signal.signal(number, self._handle) for number in HANDLED}
        # The program that becomes this one blocks them, so that none comes before the handlers.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        self._signalled.set()
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        child = self._child
        # Ctrl-C reaches the run by itself: it is in the terminal's group.
        if child is not None and child.poll() is None and number != signal.SIGINT:
            child.send_signal(number)
