"""A world in which a day passes in seconds: one clock for all threads, and a GPU that works.

The thread that made the clock drives it: when it waits or works, time advances to each instant at
which another thread is to wake, and stops until that one has done its part. So a sampler of a real
meter samples virtual time evenly, however busy the machine is.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from carbon_trainer.clock import NS_PER_S
from tests.simulation.nvml import SimulatedGpu


class WorldClock:
    """A virtual clock that one thread drives and others sleep by."""

    def __init__(self, start_ns: int) -> None:
        self._now_ns = start_ns
        self._driver = threading.get_ident()
        self._changed = threading.Condition()
        self._wakes: dict[int, tuple[int, threading.Thread]] = {}
        self._awake: set[threading.Thread] = set()

    def now_ns(self) -> int:
        return self._now_ns

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        if threading.get_ident() == self._driver:
            self.advance(seconds)
            return until is not None and until.is_set()
        if until is None:
            # A thread that takes its last readings: nobody drives any more.
            self._now_ns += round(seconds * NS_PER_S)
            return False
        return self._sleep(seconds, until)

    def await_sleepers(self, count: int) -> None:
        """Let no time pass until so many threads sleep: one that has only been started, and has
        not run yet, would miss what passes meanwhile."""
        with self._changed:
            while len(self._wakes) < count:
                self._changed.wait(0.05)

    def advance(self, seconds: float) -> None:
        """Let time pass, and every sleeper do its part at its time."""
        target_ns = self._now_ns + round(seconds * NS_PER_S)
        with self._changed:
            while True:
                self._settle()
                due = [wake for wake in self._wakes.items() if wake[1][0] <= target_ns]
                if not due:
                    break
                ident, (wake_ns, thread) = min(due, key=lambda wake: wake[1][0])
                self._now_ns = max(self._now_ns, wake_ns)
                del self._wakes[ident]
                self._awake.add(thread)
                self._changed.notify_all()
            self._now_ns = max(self._now_ns, target_ns)

    def _settle(self) -> None:
        """Wait until all that were woken sleep again, or have ended."""
        while True:
            self._awake = {thread for thread in self._awake if thread.is_alive()}
            if not self._awake:
                return
            self._changed.wait(0.05)

    def _sleep(self, seconds: float, until: threading.Event) -> bool:
        me = threading.current_thread()
        ident = threading.get_ident()
        with self._changed:
            self._wakes[ident] = self._now_ns + round(seconds * NS_PER_S), me
            self._awake.discard(me)
            self._changed.notify_all()
            while ident in self._wakes and not until.is_set():
                self._changed.wait(0.05)
            self._wakes.pop(ident, None)
        return until.is_set()


@dataclass
class SwitchedPower:
    """A power that is switched; its history has an exact integral."""

    watts: float
    _times_ns: list[int] = field(default_factory=lambda: [0])
    _joules: list[float] = field(default_factory=lambda: [0.0])
    _powers: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._powers.append(self.watts)

    def switch(self, since_ns: int, watts: float) -> None:
        """From an instant on, draw another power."""
        if watts == self._powers[-1]:
            return
        self._joules.append(self.energy_j(since_ns))
        self._times_ns.append(since_ns)
        self._powers.append(watts)

    def power_w(self, since_ns: int) -> float:
        return self._powers[max(0, bisect_right(self._times_ns, since_ns) - 1)]

    def energy_j(self, since_ns: int) -> float:
        at = max(0, bisect_right(self._times_ns, since_ns) - 1)
        return self._joules[at] + self._powers[at] * (since_ns - self._times_ns[at]) / 1e9


class WorkingGpu(SimulatedGpu):
    """A GPU whose power and speed follow from its limit and from whether it has work.

    At a limit of ``p`` watts it draws ``p``, up to what the work demands, and works at
    ``(p / demand) ** exponent`` of its full speed, as GPUs do within some limits.
    """

    def __init__(self, clock: WorldClock, *, refresh_s: float, **options: Any) -> None:
        self._draw = SwitchedPower(70.0)
        super().__init__(power=self._draw, refresh_s=refresh_s, **options)
        self._clock = clock
        self.origin_ns = clock.now_ns()

    def work(self, full_speed_s: float, *, demand_w: float = 640.0, exponent: float = 0.5) -> None:
        """Do work that takes some seconds at full speed, then idle."""
        power_w = min(self.limit_mw / 1000, demand_w)
        self._draw.switch(self._clock.now_ns() - self.origin_ns, power_w)
        self._clock.advance(full_speed_s / (power_w / demand_w) ** exponent)

    def idle(self) -> None:
        """Have nothing to do."""
        self._draw.switch(self._clock.now_ns() - self.origin_ns, 70.0)


class RestingClock(WorldClock):
    """While the thread that drives it waits, the GPU has no work."""

    gpu: WorkingGpu | None = None

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        if self.gpu is not None and until is None:
            self.gpu.idle()
        return super().wait(seconds, until)


class Inline(Executor):
    """Runs what is submitted at once, in the same thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - raised again by ``result``
            future.set_exception(error)
        return future
