"""A power source whose truth is known: constant power, a counter that is always fresh."""

from __future__ import annotations

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
        """Nothing to let go of."""
