"""One simulated GPU polled on a virtual clock, so that minutes of metering take milliseconds."""

from __future__ import annotations

import random

from carbon_trainer.clock import NS_PER_S, VirtualClock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.sources.nvml import discover_gpus
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml


class MeteredGpu:
    """A simulated GPU read through the real pynvml into a curve, in virtual time.

    Args:
        gpu: its power and its faults.
        lateness_s: how late a poll is on average, as a thread wakes a little late.
        step_s: length of the steps whose energy is requested, seconds.
    """

    def __init__(
        self, gpu: SimulatedGpu, *, lateness_s: float = 0.0003, step_s: float | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.gpu = gpu
        gpu.origin_ns = self.clock.now_ns() - 5_003_000_123
        self.library = SimulatedNvml(gpu, clock=self.clock)
        self.begin_ns = self.clock.now_ns()
        self.events: list[MeterEvent] = []
        self._random = random.Random(1)
        self._lateness_s = lateness_s
        with self.library.install():
            (source,) = discover_gpus({}, self.clock)
            source.open()
            stepped = source.describe().stepped
        self.curve = EnergyCurve(self.begin_ns, stepped=stepped)
        self.poller = Poller(
            source, self.curve, self.clock, self.events.append, step_s=lambda: step_s
        )
        self.polls = 0

    def run(self, seconds: float) -> None:
        """Poll for some time."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        with self.library.install():
            while self.clock.now_ns() < end_ns:
                wait_s = self.poller.poll()
                self.polls += 1
                self.clock.advance(wait_s + self._random.expovariate(1 / self._lateness_s))

    @property
    def event_kinds(self) -> list[str]:
        """What has happened to the device so far, ``lost`` and ``back``."""
        return [event.kind for event in self.events]

    def true_mj(self, begin_ns: int, end_ns: int) -> float:
        """Return the true energy between two instants, millijoules."""
        return self.gpu.true_mj(begin_ns, end_ns)
