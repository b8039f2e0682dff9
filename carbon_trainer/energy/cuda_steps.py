"""Times of steps on the GPU: the Python thread runs ahead of the work that it has launched.

CUDA events are recorded by the GPU when it gets to them. They are never waited for: each end of a
step asks which of the earlier ones have been reached meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from carbon_trainer.energy.steps import StepTimes

NS_PER_MS = 1_000_000
MAX_PENDING = 4096
"""Steps whose end the GPU has not reached; older ones then get the thread's time."""

CLOCK_DRIFT = 2e-4
"""How far the GPU's clock may drift from the host's, relative: twice what crystals are sold for."""


class GpuEvent(Protocol):
    """What of ``torch.cuda.Event(enable_timing=True)`` is used."""

    def record(self) -> object:
        """Have the GPU record its time when it gets here."""

    def query(self) -> bool:
        """Return whether it has; without waiting."""

    def elapsed_time(self, end_event: Any) -> float:
        """Return milliseconds from this event to another."""


class GpuClock:
    """Converts the GPU's times to the host's, without ever waiting for the GPU.

    An event is recorded after the host launched it and before the host sees it reached. So each
    event gives two bounds of the offset between the clocks; the narrowest recent pair is kept, and
    widened slowly by what the clocks may drift.
    """

    __slots__ = ("_gpu_ns", "_high_ns", "_low_ns", "_offset_ns")

    def __init__(self) -> None:
        self._low_ns: float | None = None
        self._high_ns = 0.0
        self._offset_ns = 0.0
        self._gpu_ns = 0.0

    def host_ns(self, gpu_ns: float, launched_ns: int, reached_ns: int) -> int:
        """Return the host's time of an event.

        Args:
            gpu_ns: its time by the GPU's clock, from any fixed origin.
            launched_ns: when the host launched it, host time.
            reached_ns: when the host first saw that it was reached, host time.
        """
        low_ns, high_ns = launched_ns - gpu_ns, reached_ns - gpu_ns
        if self._low_ns is None:
            self._offset_ns = low_ns
        else:
            drift_ns = CLOCK_DRIFT * max(0.0, gpu_ns - self._gpu_ns)
            low_ns = max(low_ns, self._low_ns - drift_ns)
            high_ns = max(low_ns, min(high_ns, self._high_ns + drift_ns))
        self._low_ns, self._high_ns, self._gpu_ns = low_ns, high_ns, gpu_ns
        # An idle GPU records at once, so the lower bound is soon the offset itself; while the GPU
        # is behind, the offset stays what it was until a bound contradicts it.
        self._offset_ns = min(max(self._offset_ns, low_ns), high_ns)
        return min(max(launched_ns, round(gpu_ns + self._offset_ns)), reached_ns)


class CudaStepTimes:
    """Turns events into times of steps as the GPU gets to them.

    Args:
        step_times: where steps are added once both their ends are known.
        make_event: makes an event on the GPU whose steps are meant.
        now_ns: the time.
    """

    __slots__ = (
        "_begin", "_clock", "_last_event", "_last_gpu_ns", "_make_event", "_now_ns", "_pending",
        "_pool", "_step_times",
    )  # fmt: skip

    def __init__(
        self, step_times: StepTimes, make_event: Callable[[], GpuEvent], now_ns: Callable[[], int]
    ) -> None:
        self._step_times = step_times
        self._make_event = make_event
        self._now_ns = now_ns
        self._clock = GpuClock()
        self._pool: list[GpuEvent] = []
        self._pending: deque[tuple[GpuEvent, int, GpuEvent, int]] = deque()
        self._last_event: GpuEvent | None = None
        self._last_gpu_ns = 0.0
        self._begin: tuple[GpuEvent, int] | None = None

    def begin(self) -> None:
        """Record where the GPU begins with what is launched from now on."""
        self._begin = self._record()

    def end(self) -> None:
        """Record where it ends, and add the earlier steps that it has finished."""
        # The first end after ``mark_steps_on_gpu`` was called within a step has no begin.
        if self._begin is None:
            return
        (begin, begin_ns), (end, end_ns) = self._begin, self._record()
        self._begin = None
        self._pending.append((begin, begin_ns, end, end_ns))
        self.add_finished()
        if len(self._pending) > MAX_PENDING:
            self._add_by_host_time()

    def add_finished(self) -> None:
        """Add the steps that the GPU has finished by now."""
        # In order, so one that is not finished ends the search: later ones are not either.
        while self._pending and self._pending[0][2].query():
            begin, begin_ns, end, end_ns = self._pending.popleft()
            reached_ns = self._now_ns()
            start_ns = self._clock.host_ns(self._gpu_ns(begin), begin_ns, reached_ns)
            stop_ns = self._clock.host_ns(self._gpu_ns(end), end_ns, reached_ns)
            # Each is limited by bounds of its own, which may move a short step's end before it.
            self._step_times.add(start_ns, max(start_ns, stop_ns))

    def finish(self) -> None:
        """Add the remaining steps; the GPU will not finish them, or not in time."""
        self.add_finished()
        while self._pending:
            self._add_by_host_time()

    def _add_by_host_time(self) -> None:
        begin, begin_ns, end, end_ns = self._pending.popleft()
        self._step_times.add(begin_ns, end_ns)
        self._pool += [begin, end]

    def _record(self) -> tuple[GpuEvent, int]:
        event = self._pool.pop() if self._pool else self._make_event()
        launched_ns = self._now_ns()
        event.record()
        return event, launched_ns

    def _gpu_ns(self, event: GpuEvent) -> float:
        """Return the GPU's time of an event.

        Summed from one event to the next: ``elapsed_time`` returns milliseconds in single
        precision, which over hours would no longer resolve them.
        """
        # The last event is reused only now: until here it was the start of the next difference.
        if self._last_event is not None:
            self._last_gpu_ns += self._last_event.elapsed_time(event) * NS_PER_MS
            self._pool.append(self._last_event)
        self._last_event = event
        return self._last_gpu_ns
