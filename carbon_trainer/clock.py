"""Clocks that are passed as arguments, so that in tests hours pass in milliseconds."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Returns the time and waits."""

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch (UTC)."""

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        """Wait ``seconds``, or less if ``until`` is set meanwhile; return whether it was set."""


SHORT_WAIT_S = 0.2
"""Waits no longer than this are slept through: the thread that sets the event can wait so long."""


class SystemClock:
    """The machine's own clock.

    It never steps: it reads the wall clock once and continues by a monotonic clock, so that a
    correction of the machine's time during a run makes no interval negative. Where the system has a
    monotonic clock that includes suspended time, it is that one.
    """

    def __init__(self) -> None:
        self._clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self._offset_ns = time.time_ns() - time.clock_gettime_ns(self._clock_id)

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch (UTC)."""
        return time.clock_gettime_ns(self._clock_id) + self._offset_ns

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        """Wait ``seconds``, or less if ``until`` is set meanwhile; return whether it was set."""
        if until is None or seconds <= SHORT_WAIT_S:
            # Sleeping takes two thirds of the CPU time of waiting for an event.
            time.sleep(seconds)
            return until is not None and until.is_set()
        return until.wait(seconds)


class VirtualClock:
    """A clock that moves only by ``advance``, or when something waits on it."""

    def __init__(self, start_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch (UTC)."""
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Move the time on by ``seconds``."""
        with self._lock:
            self._now_ns += round(seconds * NS_PER_S)

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        """Move the time on by ``seconds`` unless ``until`` is already set; return whether it is."""
        if until is not None and until.is_set():
            return True
        self.advance(seconds)
        return False


def to_datetime(time_ns: int) -> datetime:
    """Return nanoseconds since the epoch as an aware UTC datetime."""
    return datetime.fromtimestamp(time_ns / NS_PER_S, UTC)
