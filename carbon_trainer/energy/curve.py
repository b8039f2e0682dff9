"""The cumulative energy of one device as a curve: knots in time, whole millijoules.

Everything else is a difference of this curve, so parts always add up to the whole.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy import interpolation
from carbon_trainer.energy.knots import COLUMNS, ENERGY, ESTIMATED_NS, UNKNOWN_NS, Int64, Knots
from carbon_trainer.energy.sources.base import Method, Reading

PEAK_MEMORY_NS = 60 * NS_PER_S
MIN_PEAK_SPAN_NS = NS_PER_S // 10
"""Shortest span whose mean power can be a peak: a change that was dated late by a few milliseconds
makes the refresh after it look short and its power high."""

KNOTS_FOR_PROFILE = 4
"""A segment's profile depends on the two before it and the one after it."""

SETTLED_NS = NS_PER_S // 5
"""Span whose mean power is taken for the time before a device's first reading, and for what a reset
has lost: the power of a single refresh is wrong where that was dated late or early."""

RECENT_NS = 3 * NS_PER_S
MIN_FORGOTTEN_KNOTS = 512
"""Forgetting copies all that is kept, so it is not worth it for fewer."""


@dataclass(frozen=True, slots=True)
class EnergyEstimate:
    """The energy between two instants.

    Attributes:
        energy_mj: millijoules.
        sigma_mj: one sigma of its timing error, millijoules, without the sensor's gain error.
        measured_s: seconds for which the source reported it.
        estimated_s: seconds for which it is extrapolated or bridged.
        unknown_s: seconds for which nothing is known, and nothing is counted.
    """

    energy_mj: int
    sigma_mj: float
    measured_s: float
    estimated_s: float
    unknown_s: float


@dataclass(frozen=True, slots=True)
class CurveParts:
    """The energies of many spans; arrays of one length.

    Attributes:
        energy_mj: millijoules.
        variance_mj2: variance of the timing error.
        estimated_ns: nanoseconds that are extrapolated or bridged.
        unknown_ns: nanoseconds of which nothing is known.
    """

    energy_mj: Int64
    variance_mj2: NDArray[np.float64]
    estimated_ns: Int64
    unknown_ns: Int64


class EnergyCurve:
    """One device's cumulative energy. One thread appends; any may read.

    Args:
        start_ns: the instant from which energy is requested; the curve is extrapolated back to it.
        stepped: the counter is constant between refreshes, so that only its changes can be dated.
    """

    __slots__ = (
        "_closed", "_counter_mj", "_knots", "_last_ns", "_last_row", "_lock", "_lost_ns",
        "_peak_mw", "_peak_ns", "_power_mw", "_recent", "_start_ns", "_start_row",
        "_start_variance_mj2", "_stepped",
    )  # fmt: skip

    def __init__(self, start_ns: int, *, stepped: bool = False) -> None:
        self._start_ns = start_ns
        self._stepped = stepped
        self._start_row: Int64 | None = None
        self._start_variance_mj2 = 0.0
        # Knots move in memory when their arrays grow or are trimmed, so readers hold it too.
        self._lock = threading.Lock()
        self._knots = Knots()
        self._last_ns = start_ns
        self._last_row = [0] * COLUMNS
        self._recent: deque[tuple[int, int]] = deque()
        self._counter_mj: int | None = None
        self._power_mw: int | None = None
        self._lost_ns: int | None = None
        self._closed = False
        self._peak_mw = 0.0
        self._peak_ns = start_ns

    # Writing

    def append(
        self,
        reading: Reading,
        *,
        changed_ns: int | None = None,
        jitter_ns: int = 0,
        samples: Sequence[tuple[int, int]] = (),
    ) -> bool:
        """Add a reading.

        Args:
            reading: newer than all before, else it is ignored.
            changed_ns: when the counter changed to it; by default when it was read.
            jitter_ns: one sigma of that instant.
            samples: (instant, milliwatts) since the counter's last change, in order; they give the
                profile, the counter gives the energy.

        Returns:
            Whether it made a knot: a counter that has not changed makes none.
        """
        with self._lock:
            if self._closed:
                return False
            knot_ns = reading.time_ns if changed_ns is None else changed_ns
            if len(self._knots) and reading.time_ns <= self._last_ns:
                return False
            if reading.energy_mj is not None:
                # Changes are dated with an error, so one may seem earlier than the last knot.
                knot_ns = max(knot_ns, self._last_ns + 1) if len(self._knots) else knot_ns
                return self._append_counter(reading, reading.energy_mj, knot_ns, jitter_ns, samples)
            if reading.power_mw is not None:
                return self._append_power(reading.time_ns, reading.power_mw, jitter_ns)
            return False

    def mark_lost(self, time_ns: int) -> None:
        """Note that nothing is known of the device from an instant on."""
        with self._lock:
            # A loss is often noticed late and dated back, but not to before what was read.
            if self._lost_ns is None and not self._closed:
                self._lost_ns = max(time_ns, self._last_ns)

    def close(self) -> None:
        """Accept nothing more: a driver that returns late must not change what was reported."""
        with self._lock:
            self._closed = True

    def forget_before(self, time_ns: int) -> None:
        """Drop knots that only matter for times before ``time_ns``."""
        with self._lock:
            first = int(np.searchsorted(self._knots.times, time_ns, "right")) - KNOTS_FOR_PROFILE
            first = min(first, len(self._knots) - KNOTS_FOR_PROFILE)
            if first >= MIN_FORGOTTEN_KNOTS:
                # Totals are counted from the start, whose knots go now.
                self._row_at_start()
                self._knots.forget_first(first)

    def _append_counter(
        self, reading: Reading, counter_mj: int, knot_ns: int, jitter_ns: int,
        samples: Sequence[tuple[int, int]],
    ) -> bool:  # fmt: skip
        if self._counter_mj is None:
            self._counter_mj, self._power_mw = counter_mj, reading.power_mw
            self._begin(knot_ns, jitter_ns)
            return True
        delta_mj = counter_mj - self._counter_mj
        # After a loss even an unchanged counter makes a knot: nothing was used meanwhile.
        if delta_mj == 0 and self._lost_ns is None:
            return False
        self._counter_mj, self._power_mw = counter_mj, reading.power_mw
        lost_ns, self._lost_ns = self._lost_ns, None
        if delta_mj >= 0:
            # Also after a loss: a counter that has kept counting has measured that time.
            self._push_measured(knot_ns, delta_mj, jitter_ns, samples)
        elif lost_ns is not None:
            self._bridge_loss(lost_ns, reading.time_ns)
        else:
            # The counter was reset: what it counted after its last reading is lost, so the power
            # before bridges the time up to the refresh that was read. Energy that was counted
            # between the reset and that refresh is not added: the bridge has it already.
            bridged_mj = round(self._settled_mw() * (knot_ns - self._last_ns) / 1e9)
            self._push(knot_ns, bridged_mj, Method.ESTIMATED, jitter_ns)
        return True

    def _append_power(self, time_ns: int, power_mw: int, jitter_ns: int) -> bool:
        previous_mw, self._power_mw = self._power_mw, power_mw
        lost_ns, self._lost_ns = self._lost_ns, None
        if len(self._knots) == 0:
            # The first knot handles a loss itself.
            self._lost_ns = lost_ns
            self._begin(time_ns, 0)
        elif lost_ns is not None:
            self._bridge_loss(lost_ns, time_ns)
        else:
            mean_mw = ((previous_mw or power_mw) + power_mw) / 2
            delta_mj = round(mean_mw * (time_ns - self._last_ns) / 1e9)
            self._push(time_ns, delta_mj, Method.MEASURED, jitter_ns)
        return True

    def _begin(self, time_ns: int, jitter_ns: int) -> None:
        """Push the first knot; a device that was away until now leaves that time unknown."""
        lost_ns, self._lost_ns = self._lost_ns, None
        if lost_ns is not None and self._start_ns < time_ns:
            self._push(self._start_ns, 0, Method.MEASURED, 0)
            self._push(time_ns, 0, Method.UNKNOWN, jitter_ns)
        else:
            self._push(time_ns, 0, Method.MEASURED, jitter_ns)

    def _bridge_loss(self, lost_ns: int, time_ns: int) -> None:
        """Bridge a loss over which nothing was counted: by power until the loss, then unknown."""
        if lost_ns > self._last_ns:
            tail_mj = round(self._last_segment_mw() * (lost_ns - self._last_ns) / 1e9)
            self._push(lost_ns, tail_mj, Method.ESTIMATED, 0)
        self._push(time_ns, 0, Method.UNKNOWN, 0)

    def _push_measured(
        self, time_ns: int, delta_mj: int, jitter_ns: int, samples: Sequence[tuple[int, int]]
    ) -> None:
        """Push a measured segment, split where samples of power show its profile."""
        assigned_mj = 0
        inner_knots = interpolation.split_by_samples(self._last_ns, time_ns, delta_mj, samples)
        for inner_ns, inner_mj in inner_knots:
            self._push(inner_ns, inner_mj, Method.MEASURED, jitter_ns)
            assigned_mj += inner_mj
        self._push(time_ns, delta_mj - assigned_mj, Method.MEASURED, jitter_ns)

    def _push(self, time_ns: int, delta_mj: int, method: Method, jitter_ns: int) -> None:
        if self._knots.is_full:
            self._row_at_start()
            self._knots.decimate()
        row = self._last_row
        if len(self._knots):
            span_ns = time_ns - self._last_ns
            row[ENERGY] += delta_mj
            if method is Method.ESTIMATED:
                row[ESTIMATED_NS] += span_ns
            elif method is Method.UNKNOWN:
                row[UNKNOWN_NS] += span_ns
            self._update_peak(time_ns, row[ENERGY])
        self._recent.append((time_ns, row[ENERGY]))
        self._knots.push(time_ns, row, jitter_ns)
        self._last_ns = time_ns

    def _update_peak(self, time_ns: int, energy_mj: int) -> None:
        recent = self._recent
        # The oldest entry stays just old enough that the span from it to now can be a peak.
        while len(recent) > 1 and time_ns - recent[1][0] >= MIN_PEAK_SPAN_NS:
            recent.popleft()
        since_ns, since_mj = recent[0]
        power_mw = (energy_mj - since_mj) * 1e9 / max(time_ns - since_ns, 1)
        if power_mw >= self._peak_mw or time_ns - self._peak_ns > PEAK_MEMORY_NS:
            self._peak_mw, self._peak_ns = power_mw, time_ns

    # Reading

    @property
    def final_until_ns(self) -> int | None:
        """The instant up to which the curve is final; None before it has begun.

        A curve has begun when the power before its first knot is known. A stepped counter's last
        segment is not final: its profile depends on the next one.
        """
        with self._lock:
            if not self._has_begun():
                return None
            if self._closed or not self._stepped or self._lost_ns is not None:
                return self._last_ns
            return int(self._knots.times[-2])

    @property
    def read_until_ns(self) -> int:
        """The instant up to which energy has been read; the start before there is any."""
        with self._lock:
            return self._last_ns

    @property
    def has_data(self) -> bool:
        """Whether the device has been read and is not lost now."""
        with self._lock:
            return len(self._knots) > 0 and self._lost_ns is None

    @property
    def counter_mj(self) -> int | None:
        """The device's own counter at the last knot; None where it has none."""
        with self._lock:
            return self._counter_mj

    def energy(self, begin_ns: int, end_ns: int) -> EnergyEstimate:
        """Return the energy from ``begin_ns`` to ``end_ns``."""
        starts, ends = np.array([begin_ns], np.int64), np.array([end_ns], np.int64)
        with self._lock:
            row = self._cumulative(ends)[0] - self._cumulative(starts)[0]
            sigma_mj = float(np.sqrt(self._variances(starts, ends)[0]))
        return _estimate(row, end_ns - begin_ns, sigma_mj)

    def total(self, end_ns: int) -> EnergyEstimate:
        """Return the energy from the start to ``end_ns``, however long ago the start was."""
        ends = np.array([end_ns], np.int64)
        with self._lock:
            if len(self._knots) == 0:
                unknown_s = (end_ns - self._start_ns) / NS_PER_S
                return EnergyEstimate(0, 0.0, 0.0, 0.0, unknown_s)
            row = self._cumulative(ends)[0] - self._row_at_start()
            first = np.minimum(ends, self._knots.times[0])
            variance_mj2 = self._start_variance_mj2 + self._variances(first, ends)[0]
        return _estimate(row, end_ns - self._start_ns, float(np.sqrt(variance_mj2)))

    def parts(self, begins_ns: Int64, ends_ns: Int64) -> CurveParts:
        """Return the energies of many spans at once, arrays of one length."""
        with self._lock:
            rows = self._cumulative(ends_ns) - self._cumulative(begins_ns)
            variances_mj2 = self._variances(begins_ns, ends_ns)
        return CurveParts(
            rows[:, ENERGY], variances_mj2, rows[:, ESTIMATED_NS], rows[:, UNKNOWN_NS]
        )

    def energies_mj(self, times_ns: Int64) -> Int64:
        """Return the cumulative energy at instants, millijoules since the first knot."""
        with self._lock:
            return self._cumulative(times_ns)[:, ENERGY]

    def used_mj(self, now_ns: int, *, upper: bool = False) -> int:
        """Return the energy from the start until now, the unread tail by its power.

        Args:
            now_ns: now.
            upper: take the highest recent power for the tail, and the last power for the time
                that a lost device has been away, as budgets need it.
        """
        with self._lock:
            if len(self._knots) == 0:
                return 0
            last_ns, last = self._last_ns, self._knots.rows[-1]
            energy_mj = int(last[ENERGY]) - int(self._row_at_start()[ENERGY])
            end_ns = now_ns if self._lost_ns is None or upper else min(now_ns, self._lost_ns)
            power_mw = (
                max(self._peak_mw, self._last_segment_mw()) if upper else self._last_segment_mw()
            )
            tail_mj = round(max(0, end_ns - last_ns) * power_mw / 1e9)
            # The device may have used power all the while that it was unknown.
            unknown_ns = int(last[UNKNOWN_NS]) if upper else 0
            return energy_mj + tail_mj + round(unknown_ns * power_mw / 1e9)

    def power_w(self) -> float:
        """Return the mean power of the last seconds, watts."""
        with self._lock:
            return 0.0 if self._lost_ns is not None else self._recent_mw() / 1000

    def peak_power_w(self) -> float:
        """Return the highest power of about the last minute, watts."""
        with self._lock:
            return max(self._peak_mw, self._last_segment_mw()) / 1000

    def method_changes_ns(self, begin_ns: int, end_ns: int) -> list[int]:
        """Return the instants in between at which measured, estimated or unknown changes."""
        with self._lock:
            times = self._knots.times
            if len(times) < 2:
                return []
            first = max(int(np.searchsorted(times, begin_ns, "right")) - 1, 0)
            last = min(int(np.searchsorted(times, end_ns, "left")) + 1, len(times))
            spans = np.diff(self._knots.rows[first:last, ESTIMATED_NS:], axis=0) > 0
            changes = np.flatnonzero((spans[1:] != spans[:-1]).any(axis=1)) + first + 1
            edges = {int(t) for t in times[changes]} | {int(times[0]), int(times[-1])}
            if self._lost_ns is not None:
                edges.add(self._lost_ns)
            return sorted(t for t in edges if begin_ns < t < end_ns)

    def _row_at_start(self) -> Int64:
        """Return the curve's row at the start; fixed once the curve has begun."""
        if self._start_row is not None:
            return self._start_row
        start = np.array([self._start_ns], np.int64)
        row: Int64 = self._cumulative(start)[0]
        # Until then the power before the first knot, and so the row, may still change.
        if self._has_begun():
            self._start_row = row
            first = np.maximum(start, self._knots.times[0])
            self._start_variance_mj2 = float(self._variances(start, first)[0])
        return row

    def _last_segment_mw(self) -> float:
        """Return the power of the newest segment, or the power read where there is none."""
        n = len(self._knots)
        if n >= 2:
            unknown_ns = self._knots.rows[n - 1, UNKNOWN_NS] - self._knots.rows[n - 2, UNKNOWN_NS]
            if unknown_ns == 0:
                return self._mean_mw(n - 2, n - 1)
        return float(self._power_mw or 0)

    def _settled_mw(self) -> float:
        """Return the mean power of the last ``SETTLED_NS``, where that is known."""
        rows, n = self._knots.rows, len(self._knots)
        first = int(np.searchsorted(self._knots.times, self._last_ns - SETTLED_NS, "right")) - 1
        if first < 0 or rows[n - 1, UNKNOWN_NS] > rows[first, UNKNOWN_NS]:
            return self._last_segment_mw()
        return self._mean_mw(min(first, n - 2), n - 1)

    def _recent_mw(self) -> float:
        n = len(self._knots)
        first = int(np.searchsorted(self._knots.times, self._last_ns - RECENT_NS))
        return self._mean_mw(min(first, n - 2), n - 1)

    def _first_mw(self) -> float:
        """Return the power before the first knot: the mean of ``SETTLED_NS`` after it."""
        n = len(self._knots)
        if n < 2:
            return float(self._power_mw or 0)
        after = int(np.searchsorted(self._knots.times, int(self._knots.times[0]) + SETTLED_NS))
        return self._mean_mw(0, min(max(after, 1), n - 1))

    def _mean_mw(self, first: int, last: int) -> float:
        if len(self._knots) < 2:
            return float(self._power_mw or 0)
        span_ns = int(self._knots.times[last] - self._knots.times[first])
        rows = self._knots.rows
        return float(rows[last, ENERGY] - rows[first, ENERGY]) * 1e9 / span_ns

    def _has_begun(self) -> bool:
        n = len(self._knots)
        return n >= 2 and self._last_ns - int(self._knots.times[0]) >= SETTLED_NS

    def _cumulative(self, times_ns: Int64) -> NDArray[np.int64]:
        """Return the curve's columns at instants, shape (n, columns); whole and monotone."""
        n = len(self._knots)
        if n == 0:
            rows = np.zeros((len(times_ns), COLUMNS), np.int64)
            rows[:, UNKNOWN_NS] = times_ns - self._start_ns
            return rows
        if n == 1:
            rows = np.repeat(self._knots.rows, len(times_ns), axis=0)
        else:
            rows = interpolation.cumulative(self._knots, times_ns, shaped=self._stepped)
        self._extrapolate(times_ns, rows)
        return rows

    def _extrapolate(self, times_ns: Int64, rows: NDArray[np.int64]) -> None:
        """Extend rows beyond both ends by the neighbouring power, marked as estimated."""
        times = self._knots.times
        # Floor is monotone, so that rounding does not make the curve fall.
        before_ns = np.minimum(times_ns - times[0], 0)
        rows[:, ENERGY] += np.floor(before_ns * (self._first_mw() / 1e9)).astype(np.int64)
        rows[:, ESTIMATED_NS] += before_ns
        # A lost device is not assumed to go on: after the loss its energy is unknown, not zero.
        end_ns = self._lost_ns if self._lost_ns is not None else np.iinfo(np.int64).max
        after_ns = np.maximum(np.minimum(times_ns, end_ns) - times[-1], 0)
        rows[:, ENERGY] += np.floor(after_ns * (self._last_segment_mw() / 1e9)).astype(np.int64)
        rows[:, ESTIMATED_NS] += after_ns
        if self._lost_ns is not None:
            rows[:, UNKNOWN_NS] += np.maximum(times_ns - self._lost_ns, 0)

    def _variances(self, begins_ns: Int64, ends_ns: Int64) -> NDArray[np.float64]:
        if len(self._knots) < 2:
            return np.zeros(len(begins_ns))
        return interpolation.variances_mj2(self._knots, begins_ns, ends_ns, shaped=self._stepped)


def _estimate(row: Int64, span_ns: int, sigma_mj: float) -> EnergyEstimate:
    energy_mj, estimated_ns, unknown_ns = (int(value) for value in row)
    measured_ns = span_ns - estimated_ns - unknown_ns
    return EnergyEstimate(
        energy_mj, sigma_mj, measured_ns / 1e9, estimated_ns / 1e9, unknown_ns / 1e9
    )
