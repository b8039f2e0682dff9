"""The cumulative energy of one device as a curve: knots in time, whole millijoules.

Everything else is a difference of this curve, so parts always add up to the whole.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.source import Method, Reading

Int64 = NDArray[np.int64]

FIRST_CAPACITY = 1024
PEAK_MEMORY_NS = 60 * NS_PER_S
PEAK_SPAN_NS = NS_PER_S // 10
"""Shortest span whose mean power can be a peak: a change that was seen late by a few milliseconds
makes the refresh after it look short and its power high."""

KNOTS_AT_MOST = 1 << 18
"""More knots than a curve keeps; where nobody drains it, its older half is thinned instead."""

TIGHT_NS = NS_PER_S // 40
BEGIN_AT_LATEST_NS = NS_PER_S
"""A curve begins with the first change that was seen between two looks at most 25 ms apart; after
a second with any."""

FIRST_SPAN_NS = NS_PER_S // 5
"""Span whose mean power is taken for the time before a device's first reading: a single refresh
that was seen late or early tells its power badly."""

RECENT_NS = 3 * NS_PER_S
SLOWEST_REFRESH_NS = NS_PER_S // 10
"""The slowest refresh of an energy counter that is known, taken until it is learnt."""

# Columns of the curve; all are cumulative from the first knot on.
_ENERGY, _ESTIMATED_NS, _UNKNOWN_NS = 0, 1, 2
_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class EnergyEstimate:
    """What was used between two instants.

    Attributes:
        energy_mj: millijoules.
        sigma_mj: one sigma of its timing error, millijoules; the sensor's gain is not in it.
        measured_s: seconds for which it is what the source said.
        estimated_s: seconds for which it is extrapolated or bridged.
        unknown_s: seconds for which nothing is known, and nothing is counted.
    """

    energy_mj: int
    sigma_mj: float
    measured_s: float
    estimated_s: float
    unknown_s: float


class EnergyCurve:
    """One device's cumulative energy. One thread appends; any may read.

    Args:
        start_ns: the instant from which energy is asked for; the curve goes back to it.
        stepped: the counter stands still between refreshes, so that only its changes tell a time.
    """

    def __init__(self, start_ns: int, *, stepped: bool = False) -> None:
        self._start_ns = start_ns
        self._stepped = stepped
        self._start_row: Int64 | None = None
        self._start_sigma_mj = 0.0
        self._lock = threading.Lock()
        self._times: Int64 = np.zeros(FIRST_CAPACITY, np.int64)
        self._knots: NDArray[np.int64] = np.zeros((FIRST_CAPACITY, _COLUMNS), np.int64)
        self._jitter_ns: Int64 = np.zeros(FIRST_CAPACITY, np.int64)
        self._count = 0
        self._counter_mj: int | None = None
        self._power_mw: int | None = None
        self._first_ns = start_ns
        self._lost_ns: int | None = None
        self._closed = False
        self._peak_mw = 0.0
        self._peak_ns = start_ns

    # Writing

    def append(
        self,
        reading: Reading,
        *,
        looked_ns: int | None = None,
        refresh_ns: int = SLOWEST_REFRESH_NS,
    ) -> bool:
        """Take a reading.

        Args:
            reading: newer than all before, else it is ignored.
            looked_ns: when the counter was last seen unchanged; the change is then taken to have
                happened between the two looks.
            refresh_ns: the counter's refresh period; the last change is no older than this.

        Returns:
            Whether it made a knot: a counter that stands still makes none.
        """
        with self._lock:
            if self._closed:
                return False
            if self._count and reading.time_ns <= self._times[self._count - 1]:
                return False
            if reading.energy_mj is not None:
                since_ns = (
                    None if looked_ns is None else max(looked_ns, reading.time_ns - refresh_ns)
                )
                return self._append_counter(reading, reading.energy_mj, since_ns)
            if reading.power_mw is not None:
                return self._append_power(reading.time_ns, reading.power_mw)
            return False

    def mark_lost(self, time_ns: int) -> None:
        """Say that nothing is known of the device from an instant on."""
        with self._lock:
            if self._lost_ns is None and not self._closed:
                last_ns = int(self._times[self._count - 1]) if self._count else self._start_ns
                self._lost_ns = max(time_ns, last_ns)

    def close(self) -> None:
        """Take nothing any more: a driver that wakes up late must not change what was reported."""
        with self._lock:
            self._closed = True

    def forget_before(self, time_ns: int) -> None:
        """Let go of knots that only matter for times before ``time_ns``."""
        with self._lock:
            if self._count < 3:
                return
            keep = int(np.searchsorted(self._times[: self._count], time_ns, "right")) - 2
            keep = min(keep, self._count - 2)
            if keep < FIRST_CAPACITY // 2:
                return
            self._at_start()
            left = self._count - keep
            for column in (self._times, self._knots, self._jitter_ns):
                column[:left] = column[keep : self._count].copy()
            self._count = left

    def _append_counter(self, reading: Reading, counter_mj: int, since_ns: int | None) -> bool:
        time_ns = reading.time_ns
        if self._counter_mj is None:
            self._counter_mj, self._power_mw = counter_mj, reading.power_mw
            self._first_ns = time_ns
            if not self._stepped:
                self._begin(time_ns, 0)
            return not self._stepped
        delta_mj = counter_mj - self._counter_mj
        if delta_mj == 0 and self._lost_ns is None:
            return False
        if self._count == 0:
            return self._begin_with_change(reading, counter_mj, since_ns)
        when_ns, jitter_ns = _change_instant(time_ns, since_ns, self._last_ns())
        lost_ns, self._lost_ns = self._lost_ns, None
        continues = delta_mj >= 0
        self._counter_mj, self._power_mw = counter_mj, reading.power_mw
        if continues:
            self._push(when_ns, delta_mj, Method.MEASURED, jitter_ns)
        elif lost_ns is not None:
            self._bridge_loss(lost_ns, time_ns)
        else:
            # The counter began anew: what it had gone on to is gone, so the power before bridges.
            bridged_mj = round(self._segment_mw() * (time_ns - self._last_ns()) / 1e9)
            self._push(time_ns, bridged_mj, Method.ESTIMATED, 0)
        return True

    def _begin_with_change(self, reading: Reading, counter_mj: int, since_ns: int | None) -> bool:
        """Begin with a change whose instant is well known.

        What the counter had gathered before cannot be placed in time, and how often it changes is
        not known yet: a change that was seen late could be any of several.
        """
        self._counter_mj, self._power_mw = counter_mj, reading.power_mw
        gap_ns = 0 if since_ns is None else reading.time_ns - since_ns
        if gap_ns > TIGHT_NS and reading.time_ns - self._first_ns < BEGIN_AT_LATEST_NS:
            return False
        self._begin(*_change_instant(reading.time_ns, since_ns, self._start_ns))
        return True

    def _append_power(self, time_ns: int, power_mw: int) -> bool:
        before_mw, self._power_mw = self._power_mw, power_mw
        lost_ns, self._lost_ns = self._lost_ns, None
        if self._count == 0:
            self._lost_ns = lost_ns
            self._begin(time_ns, 0)
        elif lost_ns is not None:
            self._bridge_loss(lost_ns, time_ns)
        else:
            mean_mw = ((before_mw or power_mw) + power_mw) / 2
            delta_mj = round(mean_mw * (time_ns - self._last_ns()) / 1e9)
            self._push(time_ns, delta_mj, Method.MEASURED, 0)
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
        """The device was away and did not keep count: known power until it went, then nothing."""
        if lost_ns > self._last_ns():
            until_mj = round(self._segment_mw() * (lost_ns - self._last_ns()) / 1e9)
            self._push(lost_ns, until_mj, Method.ESTIMATED, 0)
        self._push(time_ns, 0, Method.UNKNOWN, 0)

    def _push(self, time_ns: int, delta_mj: int, method: Method, jitter_ns: int) -> None:
        if self._count == len(self._times):
            self._make_room()
        n = self._count
        row = np.zeros(_COLUMNS, np.int64)
        if n:
            span_ns = time_ns - int(self._times[n - 1])
            row = self._knots[n - 1].copy()
            row[_ENERGY] += delta_mj
            row[_ESTIMATED_NS] += span_ns if method is Method.ESTIMATED else 0
            row[_UNKNOWN_NS] += span_ns if method is Method.UNKNOWN else 0
            self._note_peak(time_ns, int(row[_ENERGY]))
        self._times[n], self._knots[n], self._jitter_ns[n] = time_ns, row, jitter_ns
        self._count = n + 1

    def _make_room(self) -> None:
        if len(self._times) < KNOTS_AT_MOST:
            self._grow()
            return
        self._at_start()
        half = self._count // 2
        rows = np.concatenate([np.arange(0, half, 2), np.arange(half, self._count)])
        for column in (self._times, self._knots, self._jitter_ns):
            column[: len(rows)] = column[rows]
        self._count = len(rows)

    def _grow(self) -> None:
        size = 2 * len(self._times)
        self._times = np.resize(self._times, size)
        self._jitter_ns = np.resize(self._jitter_ns, size)
        self._knots = np.resize(self._knots, (size, _COLUMNS))

    def _note_peak(self, time_ns: int, energy_mj: int) -> None:
        row = self._count - 1
        while row > 0 and time_ns - self._times[row] < PEAK_SPAN_NS:
            row -= 1
        span_ns = time_ns - int(self._times[row])
        power_mw = (energy_mj - int(self._knots[row, _ENERGY])) * 1e9 / max(span_ns, 1)
        if power_mw >= self._peak_mw or time_ns - self._peak_ns > PEAK_MEMORY_NS:
            self._peak_mw, self._peak_ns = power_mw, time_ns

    # Reading

    @property
    def known_until_ns(self) -> int | None:
        """The instant up to which the curve is final; None before it has begun.

        A curve has begun when the power before its first knot is known.
        """
        with self._lock:
            return self._last_ns() if self._has_begun() else None

    def energy(self, begin_ns: int, end_ns: int) -> EnergyEstimate:
        """Return what was used from ``begin_ns`` to ``end_ns``."""
        with self._lock:
            rows = self._cumulative(np.array([begin_ns, end_ns], np.int64))
            sigma_mj = float(np.hypot(*self._sigma(np.array([begin_ns, end_ns], np.int64))))
        energy_mj, estimated_ns, unknown_ns = (int(v) for v in rows[1] - rows[0])
        known_ns = end_ns - begin_ns - estimated_ns - unknown_ns
        return EnergyEstimate(
            energy_mj, sigma_mj, known_ns / 1e9, estimated_ns / 1e9, unknown_ns / 1e9
        )

    def total(self, end_ns: int) -> EnergyEstimate:
        """Return what was used from the start to ``end_ns``, however long ago it began."""
        with self._lock:
            if self._count == 0:
                unknown_s = (end_ns - self._start_ns) / NS_PER_S
                return EnergyEstimate(0, 0.0, 0.0, 0.0, unknown_s)
            at_start = self._at_start()
            at_end = self._cumulative(np.array([end_ns], np.int64))[0]
            sigma_mj = float(
                np.hypot(self._start_sigma_mj, *self._sigma(np.array([end_ns], np.int64)))
            )
        energy_mj, estimated_ns, unknown_ns = (int(v) for v in at_end - at_start)
        known_ns = end_ns - self._start_ns - estimated_ns - unknown_ns
        return EnergyEstimate(
            energy_mj, sigma_mj, known_ns / 1e9, estimated_ns / 1e9, unknown_ns / 1e9
        )

    def energies_mj(self, times_ns: Int64) -> Int64:
        """Return the cumulative energy at instants, millijoules since the first knot."""
        with self._lock:
            return self._cumulative(times_ns)[:, _ENERGY]

    def sigmas_mj(self, times_ns: Int64) -> NDArray[np.float64]:
        """Return one sigma of the cumulative energy at instants, millijoules."""
        with self._lock:
            return self._sigma(times_ns)

    def used_mj(self, now_ns: int, *, upper: bool = False) -> int:
        """Return the energy from the start until now, the unread tail by its power.

        Args:
            now_ns: now.
            upper: take the highest recent power for the tail, and the last power for the time
                that a lost device has been away, as budgets must.
        """
        with self._lock:
            if self._count == 0:
                return 0
            last_ns = self._last_ns()
            energy_mj = int(self._knots[self._count - 1, _ENERGY]) - int(self._at_start()[_ENERGY])
            end_ns = now_ns if self._lost_ns is None or upper else min(now_ns, self._lost_ns)
            power_mw = max(self._peak_mw, self._segment_mw()) if upper else self._segment_mw()
            tail_mj = round(max(0, end_ns - last_ns) * power_mw / 1e9)
            unknown_ns = int(self._knots[self._count - 1, _UNKNOWN_NS]) if upper else 0
            return energy_mj + tail_mj + round(unknown_ns * power_mw / 1e9)

    def power_w(self) -> float:
        """Return the mean power of the last seconds, watts."""
        with self._lock:
            if self._lost_ns is not None:
                return 0.0
            return self._recent_mw() / 1000

    def peak_power_w(self) -> float:
        """Return the highest power of about the last minute, watts."""
        with self._lock:
            return max(self._peak_mw, self._segment_mw()) / 1000

    def method_changes_ns(self, begin_ns: int, end_ns: int) -> list[int]:
        """Return the instants in between at which known, estimated and unknown meet."""
        with self._lock:
            if self._count < 2:
                return []
            times = self._times[: self._count]
            first = max(int(np.searchsorted(times, begin_ns, "right")) - 1, 0)
            last = min(int(np.searchsorted(times, end_ns, "left")) + 1, self._count)
            spans = np.diff(self._knots[first:last, _ESTIMATED_NS:], axis=0) > 0
            if len(spans) < 2:
                inside = []
            else:
                at = np.flatnonzero((spans[1:] != spans[:-1]).any(axis=1)) + first + 1
                inside = [int(t) for t in times[at]]
            edges = [int(times[0])]
            if self._lost_ns is None:
                edges.append(int(times[-1]))
            else:
                edges += [int(times[-1]), self._lost_ns]
            return sorted({t for t in (*inside, *edges) if begin_ns < t < end_ns})

    def _last_ns(self) -> int:
        return int(self._times[self._count - 1]) if self._count else self._start_ns

    def _at_start(self) -> Int64:
        """Return the curve's row at the start; kept from when the curve has begun."""
        if self._start_row is not None:
            return self._start_row
        start = np.array([self._start_ns], np.int64)
        row: Int64 = self._cumulative(start)[0]
        if self._has_begun():
            self._start_row = row
            self._start_sigma_mj = float(self._sigma(start)[0])
        return row

    def _segment_mw(self) -> float:
        """Return the power of the newest segment, or the one that was read where there is none."""
        n = self._count
        if n >= 2:
            span_ns = int(self._times[n - 1] - self._times[n - 2])
            unknown = self._knots[n - 1, _UNKNOWN_NS] > self._knots[n - 2, _UNKNOWN_NS]
            if span_ns and not unknown:
                return (
                    float(self._knots[n - 1, _ENERGY] - self._knots[n - 2, _ENERGY]) * 1e9 / span_ns
                )
        return float(self._power_mw or 0)

    def _recent_mw(self) -> float:
        n = self._count
        if n < 2:
            return float(self._power_mw or 0)
        first = int(np.searchsorted(self._times[:n], self._last_ns() - RECENT_NS))
        first = min(first, n - 2)
        span_ns = int(self._times[n - 1] - self._times[first])
        return float(self._knots[n - 1, _ENERGY] - self._knots[first, _ENERGY]) * 1e9 / span_ns

    def _first_mw(self) -> float:
        """Return the power before the first knot: the mean of the first moments after it."""
        n = self._count
        if n < 2:
            return float(self._power_mw or 0)
        after = int(np.searchsorted(self._times[:n], int(self._times[0]) + FIRST_SPAN_NS))
        row = min(max(after, 1), n - 1)
        span_ns = int(self._times[row] - self._times[0])
        return float(self._knots[row, _ENERGY] - self._knots[0, _ENERGY]) * 1e9 / span_ns

    def _has_begun(self) -> bool:
        return self._count >= 2 and self._last_ns() - int(self._times[0]) >= FIRST_SPAN_NS

    def _cumulative(self, times_ns: Int64) -> NDArray[np.int64]:
        """Return the curve's columns at instants, shape (n, columns); whole and monotone."""
        n = self._count
        if n == 0:
            rows = np.zeros((len(times_ns), _COLUMNS), np.int64)
            rows[:, _UNKNOWN_NS] = times_ns - self._start_ns
            return rows
        times, knots = self._times[:n], self._knots[:n]
        if n == 1:
            rows = np.repeat(knots, len(times_ns), axis=0)
        else:
            right = np.clip(np.searchsorted(times, times_ns, "right"), 1, n - 1)
            left = right - 1
            span = (times[right] - times[left]).astype(np.float64)
            share = np.clip((times_ns - times[left]) / span, 0.0, 1.0)
            steps = (knots[right] - knots[left]) * share[:, None]
            rows = knots[left] + np.floor(steps).astype(np.int64)
        self._extrapolate(times_ns, rows)
        return rows

    def _extrapolate(self, times_ns: Int64, rows: NDArray[np.int64]) -> None:
        """Go on beyond both ends by the neighbouring power, marked as estimated."""
        n = self._count
        before_ns = np.minimum(times_ns - self._times[0], 0)
        rows[:, _ENERGY] += np.floor(before_ns * (self._first_mw() / 1e9)).astype(np.int64)
        rows[:, _ESTIMATED_NS] += before_ns
        end_ns = self._lost_ns if self._lost_ns is not None else np.iinfo(np.int64).max
        after_ns = np.maximum(np.minimum(times_ns, end_ns) - self._times[n - 1], 0)
        rows[:, _ENERGY] += np.floor(after_ns * (self._segment_mw() / 1e9)).astype(np.int64)
        rows[:, _ESTIMATED_NS] += after_ns
        if self._lost_ns is not None:
            rows[:, _UNKNOWN_NS] += np.maximum(times_ns - self._lost_ns, 0)

    def _sigma(self, times_ns: Int64) -> NDArray[np.float64]:
        """Return the timing error of the curve at instants, one sigma, millijoules.

        Between two knots the shape is unknown: power may have been that of the segments beside.
        At a knot the instant of the counter's change is known to the gap between two looks.
        Beyond the ends half of what is extrapolated may be wrong.
        """
        n = self._count
        if n < 2:
            return np.zeros(len(times_ns))
        times = self._times[:n]
        power = np.diff(self._knots[:n, _ENERGY]) * 1e9 / np.diff(times)
        right = np.clip(np.searchsorted(times, times_ns, "right"), 1, n - 1)
        span = (times[right] - times[right - 1]).astype(np.float64)
        share = np.clip((times_ns - times[right - 1]) / span, 0.0, 1.0)
        here = power[right - 1]
        beside = np.maximum(
            np.abs(power[np.maximum(right - 2, 0)] - here),
            np.abs(power[np.minimum(right, n - 2)] - here),
        )
        shape_mj = beside * span * share * (1 - share) / 1e9
        jitter_mj = here * np.maximum(self._jitter_ns[right], self._jitter_ns[right - 1]) / 1e9
        beyond_ns = np.maximum(times_ns - times[-1], 0) + np.maximum(times[0] - times_ns, 0)
        beyond_mj = 0.5 * here * beyond_ns / 1e9
        sigma: NDArray[np.float64] = np.sqrt(shape_mj**2 + jitter_mj**2 + beyond_mj**2)
        return sigma


def _change_instant(time_ns: int, since_ns: int | None, last_knot_ns: int) -> tuple[int, int]:
    """Return when a counter changed that was seen unchanged at one look and changed at the next.

    The change is equally likely anywhere between the two looks: its mean, and the standard
    deviation of a uniform distribution (width / sqrt 12).
    """
    if since_ns is None:
        return time_ns, 0
    gap_ns = max(0, time_ns - max(since_ns, last_knot_ns))
    return max(time_ns - gap_ns // 2, last_knot_ns + 1), round(gap_ns / 12**0.5)
