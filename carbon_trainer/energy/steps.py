"""Marks of steps: when each began and ended, in room that does not grow."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

MARKS_KEPT = 100_000
"""Steps whose marks are kept; older ones are in the intervals that were drained."""

STEPS_LOOKED_AT = 4


class StepMarks:
    """The newest steps' marks in a ring. One thread adds; any may read."""

    __slots__ = ("_begins", "_ends", "count")

    def __init__(self) -> None:
        self._begins = array("q", bytes(8 * MARKS_KEPT))
        self._ends = array("q", bytes(8 * MARKS_KEPT))
        self.count = 0

    def add(self, begin_ns: int, end_ns: int) -> None:
        """Take a step; two writes and no lock."""
        place = self.count % MARKS_KEPT
        self._begins[place] = begin_ns
        self._ends[place] = end_ns
        self.count += 1

    def kept(self) -> tuple[Int64, Int64]:
        """Return copies of the kept begins and ends, oldest first."""
        count = self.count
        begins, ends = np.array(self._begins, np.int64), np.array(self._ends, np.int64)
        if count <= MARKS_KEPT:
            return begins[:count], ends[:count]
        shift = -(count % MARKS_KEPT)
        return np.roll(begins, shift), np.roll(ends, shift)

    def ended_by(self, times_ns: list[int]) -> list[int]:
        """Return how many steps have ended by each instant, forgotten ones too."""
        count = self.count
        _, ends = self.kept()
        before = count - len(ends)
        found = np.searchsorted(ends, np.array(times_ns, np.int64), "right")
        return [before + int(number) for number in found]

    def shortest_s(self) -> float | None:
        """Return the shortest of the last few steps, seconds; None before the first."""
        count = self.count
        if count == 0:
            return None
        places = [(count - 1 - back) % MARKS_KEPT for back in range(min(count, STEPS_LOOKED_AT))]
        return min(self._ends[place] - self._begins[place] for place in places) / 1e9
