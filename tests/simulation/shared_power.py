"""The power of a simulated GPU that several processes work on, and its exact integral.

What they do (hold a context, work, set a limit) is appended to a file that all of them read, so
that a meter in one process measures the load of another, as on a real GPU.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

NS_PER_S = 1_000_000_000
IDLE_W = 70.0
CONTEXT_W = 45.0
"""The power of a context: clocks stay high while there is one."""
SETTLES_NS = 120_000_000
"""How long a limit takes to act."""

CONTEXT, LOAD, LIMIT = "context", "load", "limit"


@dataclass(frozen=True, order=True)
class _Event:
    time_ns: int
    kind: str
    process: str
    value: float


@dataclass
class SharedPower:
    """Power by what all processes have written, who tell their time since the epoch.

    At a limit of ``p`` watts it draws ``p``, up to what the work demands.

    Attributes:
        path: the file.
        origin_ns: the simulated GPU's.
        limit_w: the limit before any was set.
    """

    path: Path
    origin_ns: int
    limit_w: float = 700.0
    _read_bytes: int = 0
    _events: list[_Event] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._state = _State(self.limit_w)
        self._history = _History()

    def set_context(self, process: str, time_ns: int, *, held: bool) -> None:
        """Note that a process holds a context from an instant on, or does not any more."""
        self._append((_Event(time_ns, CONTEXT, process, float(held)),))

    def add_work(self, process: str, begin_ns: int, end_ns: int, watts: float) -> None:
        """Note that a process works between two instants, and the power that it demands."""
        self._append((_Event(begin_ns, LOAD, process, watts), _Event(end_ns, LOAD, process, 0.0)))

    def set_limit(self, time_ns: int, watts: float) -> None:
        """Note that a limit was set."""
        self._append((_Event(time_ns + SETTLES_NS, LIMIT, "-", watts),))

    def power_w(self, since_ns: int) -> float:
        history = self._now()
        return history.powers_w[bisect_right(history.times_ns, since_ns) - 1]

    def energy_j(self, since_ns: int) -> float:
        history = self._now()
        at = bisect_right(history.times_ns, since_ns) - 1
        seconds = (since_ns - history.times_ns[at]) / NS_PER_S
        return history.joules[at] + history.powers_w[at] * seconds

    def _append(self, events: tuple[_Event, ...]) -> None:
        lines = "".join(f"{e.time_ns} {e.kind} {e.process} {e.value}\n" for e in events)
        # One write in append mode is not torn by another process's.
        out = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(out, lines.encode("ascii"))
        finally:
            os.close(out)

    def _now(self) -> _History:
        """Return the history, with what was written since the last call."""
        with self._lock:
            self._catch_up()
            return self._history

    def _catch_up(self) -> None:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        if size == self._read_bytes:
            return
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            lines = file.read(size - self._read_bytes).decode("ascii").splitlines()
        self._read_bytes = size
        fresh = sorted(_event(line, self.origin_ns) for line in lines)
        if self._events and fresh[0] < self._events[-1]:
            # Work was queued ahead of it: the history from then on has to be computed again.
            fresh = sorted([*self._events, *fresh])
            self._events, self._state = [], _State(self.limit_w)
            self._history = _History()
        self._events += fresh
        self._history = self._state.follow(fresh, self._history)


class _History:
    """Instants, the power from each on, and the energy until it."""

    __slots__ = ("joules", "powers_w", "times_ns")

    def __init__(self) -> None:
        self.times_ns, self.powers_w, self.joules = [0], [IDLE_W], [0.0]


class _State:
    """The state after the events so far."""

    def __init__(self, limit_w: float) -> None:
        self._limit_w = limit_w
        self._contexts: dict[str, float] = {}
        self._loads: dict[str, float] = {}

    def follow(self, events: list[_Event], history: _History) -> _History:
        """Add what follows from events to a history."""
        for event in events:
            if event.kind == LIMIT:
                self._limit_w = event.value
            else:
                powers_w = self._contexts if event.kind == CONTEXT else self._loads
                powers_w[event.process] = event.value
            context_w = CONTEXT_W if any(self._contexts.values()) else 0.0
            demand_w = IDLE_W + context_w + sum(self._loads.values())
            seconds = (event.time_ns - history.times_ns[-1]) / NS_PER_S
            history.joules.append(history.joules[-1] + history.powers_w[-1] * seconds)
            history.powers_w.append(min(self._limit_w, demand_w))
            # Last: a thread that reads in between finds an instant only with all of its values.
            history.times_ns.append(event.time_ns)
        return history


def _event(line: str, origin_ns: int) -> _Event:
    time_ns, kind, process, value = line.split()
    return _Event(int(time_ns) - origin_ns, kind, process, float(value))
