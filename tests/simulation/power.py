"""Power over time with an exact integral, so that a simulated device's true energy is known."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
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
        cycles, remainder = divmod(seconds, self.period_s)
        half = self.period_s / 2
        in_period = self.low_w * min(remainder, half) + self.high_w * max(0.0, remainder - half)
        return cycles * half * (self.low_w + self.high_w) + in_period


@dataclass(frozen=True)
class Ramp:
    """Rises by ``w_per_s`` for ``period_s``, then falls back at once."""

    base_w: float = 100.0
    w_per_s: float = 200.0
    period_s: float = 2.0

    def power_w(self, since_ns: int) -> float:
        return self.base_w + self.w_per_s * ((since_ns / S) % self.period_s)

    def energy_j(self, since_ns: int) -> float:
        cycles, remainder = divmod(since_ns / S, self.period_s)
        cycle_j = self.base_w * self.period_s + self.w_per_s * self.period_s**2 / 2
        return cycles * cycle_j + self.base_w * remainder + self.w_per_s * remainder**2 / 2


@dataclass(frozen=True)
class Pieces:
    """Constant from edge to edge, over and over.

    Attributes:
        lengths_ns: how long each piece is.
        watts: its power.
    """

    lengths_ns: tuple[int, ...]
    watts: tuple[float, ...]

    @cached_property
    def _ends_ns(self) -> list[int]:
        return list(accumulate(self.lengths_ns))

    @cached_property
    def _joules(self) -> list[float]:
        pieces = zip(self.lengths_ns, self.watts, strict=True)
        return [0.0, *accumulate(length * watts / S for length, watts in pieces)]

    def power_w(self, since_ns: int) -> float:
        remainder = since_ns % self._ends_ns[-1]
        return self.watts[bisect_right(self._ends_ns, remainder)]

    def energy_j(self, since_ns: int) -> float:
        cycles, remainder = divmod(since_ns, self._ends_ns[-1])
        piece = bisect_right(self._ends_ns, remainder)
        begin_ns = self._ends_ns[piece - 1] if piece else 0
        within = self._joules[piece] + self.watts[piece] * (remainder - begin_ns) / S
        return cycles * self._joules[-1] + within


def bursts(seed: int = 1, *, low_w: float = 150.0, high_w: float = 700.0) -> Pieces:
    """Return bursts of 3 to 15 ms, shorter than any counter's refresh, 10 to 80 ms apart."""
    generator = random.Random(seed)
    lengths_ns, watts = [], []
    for _ in range(500):
        lengths_ns += [
            generator.randint(10_000_000, 80_000_000),
            generator.randint(3_000_000, 15_000_000),
        ]
        watts += [low_w, high_w]
    return Pieces(tuple(lengths_ns), tuple(watts))


def training(seed: int = 1) -> Pieces:
    """Return steps like a training's: data wait, forward, backward, optimizer, each a level."""
    generator = random.Random(seed)
    lengths_ns, watts = [], []
    for _ in range(300):
        for milliseconds, level_w in ((8, 130.0), (60, 520.0), (120, 660.0), (22, 380.0)):
            lengths_ns.append(round(generator.gauss(1, 0.08) * milliseconds * 1e6))
            watts.append(level_w * generator.gauss(1, 0.03))
    return Pieces(tuple(lengths_ns), tuple(watts))


WAVES: dict[str, Callable[[], Power]] = {
    "square": SquareWave,
    "ramp": Ramp,
    "bursts": bursts,
    "training": training,
}
