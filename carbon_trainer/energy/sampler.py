"""Threads that read sources: GPUs in company, so that one waking looks at several.

A driver that hangs holds up only itself: the others of its company go on in a new thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.poller import FINISH_S, Poller

COMPANY = 4
"""Sources a thread reads: fewer wakings with more, shorter waits for one another with fewer."""

JOIN_S = 5.0
"""How long the end waits for a source that does not answer, seconds, for all together."""

WATCH_S = 0.5
STUCK_S = 1.0
"""A look that takes longer than this leaves its company."""


class Sampler:
    """Runs pollers until it is stopped.

    Args:
        clock: waits between looks.
    """

    __slots__ = ("_clock", "_companies", "_lock", "_stopping", "_watch")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._companies: list[_Company] = []
        self._watch: threading.Thread | None = None

    def add(self, pollers: Sequence[Poller]) -> None:
        """Start to run pollers: counters in company, what takes its time alone."""
        quick = [poller for poller in pollers if poller.source.describe().stepped]
        groups = [quick[at : at + COMPANY] for at in range(0, len(quick), COMPANY)]
        groups += [[poller] for poller in pollers if poller not in quick]
        with self._lock:
            for group in groups:
                self._start(group)
            if any(len(group) > 1 for group in groups) and self._watch is None:
                self._watch = threading.Thread(target=self._watching, name="watch", daemon=True)
                self._watch.start()

    def stop(self) -> list[Poller]:
        """Have every poller take its last reading; return those that did not answer in time."""
        self._stopping.set()
        deadline_s = time.monotonic() + JOIN_S
        while time.monotonic() < deadline_s and any(one.is_alive for one in self._companies):
            self._part_stuck()
            for company in list(self._companies):
                company.join(min(0.1, max(0.0, deadline_s - time.monotonic())))
        return [poller for one in self._companies if one.is_alive for poller in one.unfinished]

    def _start(self, pollers: list[Poller]) -> None:
        company = _Company(pollers, self._clock, self._stopping)
        self._companies.append(company)
        company.start()

    def _watching(self) -> None:
        while not self._stopping.wait(WATCH_S):
            self._part_stuck()

    def _part_stuck(self) -> None:
        with self._lock:
            for company in list(self._companies):
                others = company.leave_stuck()
                if others:
                    self._start(others)


class _Company:
    """Pollers that one thread runs."""

    __slots__ = ("_clock", "_due_ns", "_inside", "_lock", "_stopping", "_thread", "unfinished")

    def __init__(self, pollers: list[Poller], clock: Clock, stopping: threading.Event) -> None:
        self.unfinished = pollers
        self._clock = clock
        self._stopping = stopping
        self._lock = threading.Lock()
        self._inside: tuple[Poller, float] | None = None
        self._due_ns = {id(poller): 0 for poller in pollers}
        name = f"sampler {pollers[0].source.describe().device}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def leave_stuck(self) -> list[Poller]:
        """Return the others if one look has been taking too long; they are no longer run here."""
        with self._lock:
            inside = self._inside
            if inside is None or time.monotonic() - inside[1] < STUCK_S:
                return []
            others = [poller for poller in self.unfinished if poller is not inside[0]]
            self.unfinished = [inside[0]]
            return others

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._look_at_due()
            self._clock.wait(self._wait_s(), self._stopping)
        self._finish()

    def _look_at_due(self) -> None:
        now_ns = self._clock.now_ns()
        for poller in self.unfinished:
            if self._due_ns[id(poller)] <= now_ns:
                self._look(poller)

    def _look(self, poller: Poller) -> None:
        with self._lock:
            if poller not in self.unfinished:
                return
            self._inside = poller, time.monotonic()
        wait_s = poller.poll()
        self._due_ns[id(poller)] = self._clock.now_ns() + round(wait_s * NS_PER_S)
        with self._lock:
            self._inside = None

    def _wait_s(self) -> float:
        """Wait as long as the least patient poller may, and so find more of them due."""
        now_ns = self._clock.now_ns()
        latest_ns = min(
            self._due_ns[id(poller)] + round(poller.patience_s * NS_PER_S)
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
                    poller.hurry()
                    self._look(poller)
            late = [poller for poller in self.unfinished if not poller.has_read_past(end_ns)]
            if not late or self._clock.now_ns() > deadline_ns:
                break
            due_ns = min(self._due_ns[id(poller)] for poller in late)
            left_ns = min(due_ns, deadline_ns + 1) - self._clock.now_ns()
            self._clock.wait(max(0.0, left_ns / NS_PER_S))
        for poller in list(self.unfinished):
            poller.close()
