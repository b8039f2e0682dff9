"""Marks of steps in the GPU's own time: the Python thread runs ahead of what it has launched."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from carbon_trainer.energy.steps import StepMarks

NS_PER_MS = 1_000_000
PENDING_AT_MOST = 4096
"""Steps whose end the GPU has not reached; more than this are marked in the thread's time."""

CLOCK_DRIFT = 2e-4
"""How far the GPU's clock may run from the host's, relative: twice what crystals are sold for."""


class GpuEvent(Protocol):
    """What of ``torch.cuda.Event(enable_timing=True)`` is used."""

    def record(self) -> object:
        """Ask the GPU to note its time when it gets here."""

    def query(self) -> bool:
        """Say whether it has; without waiting."""

    def elapsed_time(self, end_event: Any) -> float:
        """Return milliseconds from this event to another."""


class GpuClock:
    """The host's time of what the GPU notes, without ever waiting for it.

    An event happens after it was asked for and before it is seen to have happened. Each event so
    gives two bounds of the offset between the clocks; the narrowest pair of late is kept, and
    opened slowly by what the clocks may drift.
    """

    __slots__ = ("_at_ns", "_high_ns", "_low_ns", "_offset_ns")

    def __init__(self) -> None:
        self._low_ns: float | None = None
        self._high_ns = 0.0
        self._offset_ns = 0.0
        self._at_ns = 0.0

    def host_ns(self, gpu_ns: float, asked_ns: int, seen_ns: int) -> int:
        """Return the host's time of an event.

        Args:
            gpu_ns: its time by the GPU's clock, from any fixed beginning.
            asked_ns: when it was asked for, host time.
            seen_ns: when it was first seen to have happened, host time.
        """
        low_ns, high_ns = asked_ns - gpu_ns, seen_ns - gpu_ns
        if self._low_ns is None:
            self._offset_ns = low_ns
        else:
            drift_ns = CLOCK_DRIFT * max(0.0, gpu_ns - self._at_ns)
            low_ns = max(low_ns, self._low_ns - drift_ns)
            high_ns = max(low_ns, min(high_ns, self._high_ns + drift_ns))
        self._low_ns, self._high_ns, self._at_ns = low_ns, high_ns, gpu_ns
        # A GPU that has caught up notes at once, so the lower bound is soon the offset itself;
        # while it is behind, what is known stays until a bound says otherwise.
        self._offset_ns = min(max(self._offset_ns, low_ns), high_ns)
        return min(max(asked_ns, round(gpu_ns + self._offset_ns)), seen_ns)


class GpuMarks:
    """Turns events into marks as the GPU gets to them.

    Args:
        marks: where steps are marked once both their ends are known.
        make_event: makes an event on the GPU whose steps are meant.
        now_ns: the time.
    """

    __slots__ = (
        "_begin", "_clock", "_last", "_last_gpu_ns", "_make_event", "_marks", "_now_ns", "_pending",
        "_spare",
    )  # fmt: skip

    def __init__(
        self, marks: StepMarks, make_event: Callable[[], GpuEvent], now_ns: Callable[[], int]
    ) -> None:
        self._marks = marks
        self._make_event = make_event
        self._now_ns = now_ns
        self._clock = GpuClock()
        self._spare: list[GpuEvent] = []
        self._pending: deque[tuple[GpuEvent, int, GpuEvent, int]] = deque()
        self._last: GpuEvent | None = None
        self._last_gpu_ns = 0.0
        self._begin: tuple[GpuEvent, int] | None = None

    def begin(self) -> None:
        """Mark where the GPU begins with what is launched from now on."""
        self._begin = self._recorded()

    def end(self) -> None:
        """Mark where it ends; earlier steps that it has come to are settled."""
        if self._begin is None:
            return
        (begin, begin_ns), (end, end_ns) = self._begin, self._recorded()
        self._begin = None
        self._pending.append((begin, begin_ns, end, end_ns))
        self.settle()
        if len(self._pending) > PENDING_AT_MOST:
            self._take_host_times()

    def settle(self) -> None:
        """Mark the steps that the GPU has come to by now."""
        while self._pending and self._pending[0][2].query():
            begin, begin_ns, end, end_ns = self._pending.popleft()
            seen_ns = self._now_ns()
            began_ns = self._clock.host_ns(self._gpu_ns(begin), begin_ns, seen_ns)
            ended_ns = self._clock.host_ns(self._gpu_ns(end), end_ns, seen_ns)
            self._marks.add(began_ns, max(began_ns, ended_ns))

    def finish(self) -> None:
        """Mark what is left; the GPU will not come to it, or not in time."""
        self.settle()
        while self._pending:
            self._take_host_times()

    def _take_host_times(self) -> None:
        begin, begin_ns, end, end_ns = self._pending.popleft()
        self._marks.add(begin_ns, end_ns)
        self._spare += [begin, end]

    def _recorded(self) -> tuple[GpuEvent, int]:
        event = self._spare.pop() if self._spare else self._make_event()
        asked_ns = self._now_ns()
        event.record()
        return event, asked_ns

    def _gpu_ns(self, event: GpuEvent) -> float:
        """Return the GPU's time of an event.

        Summed from one event to the next: milliseconds in single precision lose theirs in hours.
        """
        if self._last is not None:
            self._last_gpu_ns += self._last.elapsed_time(event) * NS_PER_MS
            self._spare.append(self._last)
        self._last = event
        return self._last_gpu_ns
