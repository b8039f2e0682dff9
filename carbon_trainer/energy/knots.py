"""Knots of a curve in growing arrays: an instant, cumulative columns, and the instant's error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

INITIAL_CAPACITY = 1024
MAX_KNOTS = 1 << 18
"""Where nothing drains a curve of so many knots, its older half is decimated."""

ENERGY, ESTIMATED_NS, UNKNOWN_NS = 0, 1, 2
COLUMNS = 3
"""Columns of a knot; all are cumulative from the first knot on."""


class Knots:
    """Rows in order of time. Its owner holds a lock."""

    __slots__ = ("_count", "_jitter_ns", "_rows", "_times")

    def __init__(self) -> None:
        self._times: Int64 = np.zeros(INITIAL_CAPACITY, np.int64)
        self._rows: NDArray[np.int64] = np.zeros((INITIAL_CAPACITY, COLUMNS), np.int64)
        self._jitter_ns: Int64 = np.zeros(INITIAL_CAPACITY, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def times(self) -> Int64:
        """Instants, nanoseconds since the epoch, shape (n,)."""
        return self._times[: self._count]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Cumulative columns, shape (n, 3)."""
        return self._rows[: self._count]

    @property
    def jitter_ns(self) -> Int64:
        """One sigma of each instant, nanoseconds, shape (n,)."""
        return self._jitter_ns[: self._count]

    @property
    def is_full(self) -> bool:
        """Whether the next push would exceed what a curve keeps."""
        return self._count >= MAX_KNOTS

    def push(self, time_ns: int, row: Sequence[int], jitter_ns: int) -> None:
        """Append a knot."""
        n = self._count
        if n == len(self._times):
            # np.resize repeats the old content in the new half; it lies beyond the count.
            size = 2 * n
            self._times = np.resize(self._times, size)
            self._jitter_ns = np.resize(self._jitter_ns, size)
            self._rows = np.resize(self._rows, (size, COLUMNS))
        self._times[n], self._rows[n], self._jitter_ns[n] = time_ns, row, jitter_ns
        self._count = n + 1

    def decimate(self) -> None:
        """Drop every second knot of the older half."""
        # The columns are cumulative, so any knot can go and the sums stay what they were; recent
        # knots keep their resolution, which the energy of single steps needs.
        half = self._count // 2
        self._retain(np.concatenate([np.arange(0, half, 2), np.arange(half, self._count)]))

    def forget_first(self, count: int) -> None:
        """Drop the oldest knots."""
        self._retain(np.arange(count, self._count))

    def powers_mw(self, segments: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return segments' mean powers, milliwatts; beyond the ends that of the nearest."""
        index = np.clip(segments, 0, self._count - 2)
        energy = self._rows[index + 1, ENERGY] - self._rows[index, ENERGY]
        return np.asarray(energy * 1e9 / (self._times[index + 1] - self._times[index]), np.float64)

    def are_measured(self, segments: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which segments exist and are neither estimated nor unknown."""
        index = np.clip(segments, 0, self._count - 2)
        doubtful = (self._rows[index + 1, ESTIMATED_NS:] > self._rows[index, ESTIMATED_NS:]).any(
            axis=-1
        )
        return np.asarray((index == segments) & ~doubtful, np.bool_)

    def _retain(self, indices: NDArray[np.intp]) -> None:
        for column in (self._times, self._rows, self._jitter_ns):
            column[: len(indices)] = column[indices]
        self._count = len(indices)
