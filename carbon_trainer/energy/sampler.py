"""Threads that read sources: several counters per thread, so that one wake-up reads several.

A driver that hangs blocks only itself: the other pollers of its thread go on in a new one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.poller import FINISH_S, Poller

POLLERS_PER_THREAD = 4
"""More of them save wake-ups, fewer of them wait less for one another."""

JOIN_S = 5.0
"""How long ``stop`` waits for sources that do not answer, seconds, for all together."""

WATCHDOG_INTERVAL_S = 0.5
HUNG_POLL_S = 1.0
"""A poll that takes longer than this is left alone in its thread."""


class Sampler:
    """Runs pollers until it is stopped.

    Args:
        clock: waits between polls.
    """

    __slots__ = ("_clock", "_lock", "_stopping", "_threads", "_watchdog")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[SamplerThread] = []
        self._watchdog: threading.Thread | None = None

    def add(self, pollers: Sequence[Poller]) -> None:
        """Start to run pollers: counters several to a thread, slow sources one by one."""
        counters = [poller for poller in pollers if poller.source.describe().stepped]
        groups = [
            counters[first : first + POLLERS_PER_THREAD]
            for first in range(0, len(counters), POLLERS_PER_THREAD)
        ]
        groups += [[poller] for poller in pollers if poller not in counters]
        with self._lock:
            for group in groups:
                self._start(group)
            if any(len(group) > 1 for group in groups) and self._watchdog is None:
                self._watchdog = threading.Thread(
                    target=self._run_watchdog, name="watchdog", daemon=True
                )
                self._watchdog.start()

    def stop(self) -> list[Poller]:
        """Have every poller take its last reading; return those that did not answer in time."""
        self._stopping.set()
        # The real time, not the clock's: a driver that hangs does so in real time.
        deadline_s = time.monotonic() + JOIN_S
        while time.monotonic() < deadline_s and any(thread.is_alive for thread in self._threads):
            # A poll may have begun to hang after the watchdog's last round.
            self._detach_hung()
            for thread in list(self._threads):
                thread.join(min(0.1, max(0.0, deadline_s - time.monotonic())))
        return [
            poller for thread in self._threads if thread.is_alive for poller in thread.unfinished
        ]

    def _start(self, pollers: list[Poller]) -> None:
        thread = SamplerThread(pollers, self._clock, self._stopping)
        self._threads.append(thread)
        thread.start()

    def _run_watchdog(self) -> None:
        while not self._stopping.wait(WATCHDOG_INTERVAL_S):
            self._detach_hung()

    def _detach_hung(self) -> None:
        with self._lock:
            for thread in list(self._threads):
                others = thread.detach_hung()
                if others:
                    self._start(others)


class SamplerThread:
    """A thread and the pollers that it runs.

    Args:
        pollers: what to run; ``unfinished`` is what of it this thread still runs.
        clock: waits between polls.
        stopping: set when the last readings are to be taken.
    """

    __slots__ = ("_clock", "_current", "_due_ns", "_lock", "_stopping", "_thread", "unfinished")

    def __init__(self, pollers: list[Poller], clock: Clock, stopping: threading.Event) -> None:
        self.unfinished = pollers
        self._clock = clock
        self._stopping = stopping
        self._lock = threading.Lock()
        self._current: tuple[Poller, float] | None = None
        self._due_ns = {id(poller): 0 for poller in pollers}
        name = f"sampler {pollers[0].source.describe().device}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it has not finished yet."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to finish."""
        self._thread.join(timeout_s)

    def detach_hung(self) -> list[Poller]:
        """Return the other pollers if one has been hanging; this thread no longer runs them.

        A thread that hangs in a C library cannot be interrupted or killed, so it keeps the poller
        that it is stuck in, and another thread takes over the rest.
        """
        with self._lock:
            current = self._current
            if current is None or time.monotonic() - current[1] < HUNG_POLL_S:
                return []
            others = [poller for poller in self.unfinished if poller is not current[0]]
            self.unfinished = [current[0]]
            return others

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._poll_due()
            self._clock.wait(self._wait_s(), self._stopping)
        self._finish()

    def _poll_due(self) -> None:
        now_ns = self._clock.now_ns()
        for poller in self.unfinished:
            if self._due_ns[id(poller)] <= now_ns:
                self._poll(poller)

    def _poll(self, poller: Poller) -> None:
        with self._lock:
            # The caller goes through a list from before: while the thread hung in the poller
            # before this one, the watchdog may have given this one to another thread, and two
            # threads must never read one source.
            if poller not in self.unfinished:
                return
            self._current = poller, time.monotonic()
        wait_s = poller.poll()
        self._due_ns[id(poller)] = self._clock.now_ns() + round(wait_s * NS_PER_S)
        with self._lock:
            self._current = None

    def _wait_s(self) -> float:
        """Return how long to wait: up to the latest moment that suits every poller.

        By then more of them are due, so that fewer wake-ups read as much.
        """
        now_ns = self._clock.now_ns()
        latest_ns = min(
            self._due_ns[id(poller)] + round(poller.slack_s * NS_PER_S)
            for poller in self.unfinished
        )
        return max(0.0, (latest_ns - now_ns) / NS_PER_S)

    def _finish(self) -> None:
        """Take the last readings, past each counter's next change."""
        end_ns = self._clock.now_ns()
        deadline_ns = end_ns + round(FINISH_S * NS_PER_S)
        while True:
            for poller in self.unfinished:
                if not poller.has_read_past(end_ns):
                    poller.force_read()
                    self._poll(poller)
            late = [poller for poller in self.unfinished if not poller.has_read_past(end_ns)]
            if not late or self._clock.now_ns() > deadline_ns:
                break
            due_ns = min(self._due_ns[id(poller)] for poller in late)
            remaining_ns = min(due_ns, deadline_ns + 1) - self._clock.now_ns()
            self._clock.wait(max(0.0, remaining_ns / NS_PER_S))
        for poller in list(self.unfinished):
            poller.close()
