"""When steps began and ended, in memory that does not grow."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

MAX_STEPS = 100_000
"""Steps whose times are kept; older ones are in the intervals that were drained."""

STEPS_FOR_SHORTEST = 4


class StepTimes:
    """The times of the newest steps, in a ring. One thread adds; any may read."""

    __slots__ = ("_begins", "_ends", "count")

    def __init__(self) -> None:
        self._begins = array("q", bytes(8 * MAX_STEPS))
        self._ends = array("q", bytes(8 * MAX_STEPS))
        self.count = 0

    def add(self, begin_ns: int, end_ns: int) -> None:
        """Add a step; two writes and no lock."""
        slot = self.count % MAX_STEPS
        self._begins[slot] = begin_ns
        self._ends[slot] = end_ns
        # Last: a reader takes only as many steps as are counted, and these are complete.
        self.count += 1

    def recent(self) -> tuple[Int64, Int64]:
        """Return copies of the begins and ends of the kept steps, oldest first."""
        count = self.count
        starts, ends = np.array(self._begins, np.int64), np.array(self._ends, np.int64)
        if count <= MAX_STEPS:
            return starts[:count], ends[:count]
        shift = -(count % MAX_STEPS)
        return np.roll(starts, shift), np.roll(ends, shift)

    def counts_ended(self, times_ns: list[int]) -> list[int]:
        """Return how many steps have ended by each instant, dropped ones too."""
        count = self.count
        _, ends = self.recent()
        dropped = count - len(ends)
        positions = np.searchsorted(ends, np.array(times_ns, np.int64), "right")
        return [dropped + int(position) for position in positions]

    def shortest_s(self) -> float | None:
        """Return the shortest of the last few steps, seconds; None before the first."""
        count = self.count
        if count == 0:
            return None
        slots = [(count - 1 - age) % MAX_STEPS for age in range(min(count, STEPS_FOR_SHORTEST))]
        return min(self._ends[slot] - self._begins[slot] for slot in slots) / 1e9
