"""Power sources of known energy: constant power, a counter that is always fresh."""

from __future__ import annotations

import dataclasses
import threading

from carbon_trainer.clock import Clock, SystemClock
from carbon_trainer.energy.sources.base import (
    Component,
    Method,
    Reading,
    SourceInfo,
    SourceLostError,
)


class ConstantSource:
    """Draws ``power_w`` from its opening on; ``lose`` makes it vanish."""

    def __init__(self, power_w: float = 200.0, clock: Clock | None = None) -> None:
        self.power_w = power_w
        self._clock = clock or SystemClock()
        self._opened_ns = self._clock.now_ns()
        self._lost = False

    def lose(self) -> None:
        """From now on the device does not answer."""
        self._lost = True

    def open(self) -> None:
        if self._lost:
            raise SourceLostError("the simulated device is gone")

    def read(self) -> Reading:
        if self._lost:
            raise SourceLostError("the simulated device is gone")
        now_ns = self._clock.now_ns()
        # W x ns = nJ; a millijoule is a million of them.
        energy_mj = round((now_ns - self._opened_ns) * self.power_w / 1e6)
        return Reading(now_ns, energy_mj, round(self.power_w * 1000))

    def sample_power(self) -> None:
        """It reports no power between its readings."""

    def describe(self) -> SourceInfo:
        return SourceInfo(
            name="simulated counter",
            component=Component.GPU,
            device="GPU-simulated",
            label="Simulated GPU",
            method=Method.MEASURED,
            refresh_s=0.001,
            uncertainty=0.05,
        )

    def close(self) -> None:
        """There is nothing to release."""


class HangingSource(ConstantSource):
    """Answers until it is set to hang, then not before it is released, as a driver may.

    Args:
        answers: readings after which it hangs; by default only when ``hangs`` is set.
        device: its id.
        stepped: whether its counter counts as one that is constant between refreshes.
    """

    def __init__(
        self, answers: int | None = None, *, device: str = "GPU-hung", stepped: bool = False
    ) -> None:
        super().__init__(100)
        self._answers = answers
        self._device = device
        self._stepped = stepped
        self.hangs = threading.Event()
        self.is_hanging = threading.Event()
        self.released = threading.Event()

    def read(self) -> Reading:
        if self.hangs.is_set() or self._answers == 0:
            self.is_hanging.set()
            self.released.wait(60)
        elif self._answers is not None:
            self._answers -= 1
        return super().read()

    def describe(self) -> SourceInfo:
        info = super().describe()
        return dataclasses.replace(info, device=self._device, stepped=self._stepped)
