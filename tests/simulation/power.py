"""Power over time with an exact integral, so that a simulated device's true energy is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

S = 1_000_000_000


class Power(Protocol):
    """A device's power from its origin on."""

    def power_w(self, since_ns: int) -> float:
        """Return watts at ``since_ns`` after the origin."""

    def energy_j(self, since_ns: int) -> float:
        """Return joules from the origin to ``since_ns`` after it."""


@dataclass(frozen=True)
class Constant:
    watts: float

    def power_w(self, since_ns: int) -> float:
        return self.watts

    def energy_j(self, since_ns: int) -> float:
        return self.watts * since_ns / S


@dataclass(frozen=True)
class SquareWave:
    """``low_w`` for the first half of each period, ``high_w`` for the second."""

    low_w: float = 100.0
    high_w: float = 700.0
    period_s: float = 0.37

    def power_w(self, since_ns: int) -> float:
        return self.low_w if (since_ns / S) % self.period_s < self.period_s / 2 else self.high_w

    def energy_j(self, since_ns: int) -> float:
        seconds = since_ns / S
        whole, rest = divmod(seconds, self.period_s)
        half = self.period_s / 2
        in_period = self.low_w * min(rest, half) + self.high_w * max(0.0, rest - half)
        return whole * half * (self.low_w + self.high_w) + in_period


@dataclass(frozen=True)
class Ramp:
    """Rises by ``w_per_s`` for ``period_s``, then falls back at once."""

    base_w: float = 100.0
    w_per_s: float = 200.0
    period_s: float = 2.0

    def power_w(self, since_ns: int) -> float:
        return self.base_w + self.w_per_s * ((since_ns / S) % self.period_s)

    def energy_j(self, since_ns: int) -> float:
        whole, rest = divmod(since_ns / S, self.period_s)
        one = self.base_w * self.period_s + self.w_per_s * self.period_s**2 / 2
        return whole * one + self.base_w * rest + self.w_per_s * rest**2 / 2
