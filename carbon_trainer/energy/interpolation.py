"""How energy runs between two knots, and how wrong that may be.

A counter tells a segment's energy, not its course. Training draws power in levels, so where a
segment's mean lies between those of its neighbours, a jump from the one to the other that keeps
the segment's energy is the likely course (subcell resolution: A. Harten, J. Comput. Phys. 83,
1989); where power climbs steadily it is a parabola; else it is straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.energy.knots import ENERGY, Int64, Knots

Floats = NDArray[np.float64]

STEADY_RATIO = 2.0
"""Neighbouring differences of power that are alike by this factor make a steady climb."""

STEP_ERROR = 0.04
STRAIGHT_ERROR = 0.48
"""One sigma of the course's error in a segment's middle half, as a share of the greatest
difference to a neighbour's power; fitted on square, ramp, burst and training waves."""

LEVEL_ERROR = 0.01
"""The same as a share of the segment's own power: what neighbours that are alike cannot tell."""

FEWEST_SAMPLES = 3
SAMPLE_WEIGHT = 0.5
"""Sensors look for a part of the time only (a quarter on H100, half on V100: data of arXiv
2312.02741), so samples are believed by half, the segment's mean by the other."""

AGREEMENT = 1.3
"""Samples that are this factor off the counter's energy missed what it saw."""

BEYOND_ERROR = 0.5
"""Half of what is extrapolated beyond the ends may be wrong."""


@dataclass(frozen=True, slots=True)
class Courses:
    """The course of power in the segments of some instants; arrays of one length.

    Attributes:
        segment: which segment an instant lies in.
        share: how far into it, 0 to 1.
        mean_mw: its mean power.
        left_mw: the power before the jump.
        right_mw: the power after it.
        jump: where it jumps, 0 to 1.
        is_step: whether it jumps.
        is_steady: whether it climbs or falls steadily.
        contrast_mw: the greatest difference to a neighbour.
    """

    segment: NDArray[np.intp]
    share: Floats
    mean_mw: Floats
    left_mw: Floats
    right_mw: Floats
    jump: Floats
    is_step: NDArray[np.bool_]
    is_steady: NDArray[np.bool_]
    contrast_mw: Floats

    def energy_share(self) -> Floats:
        """Return the share of the segment's energy that is used up to the instants."""
        u, mean = self.share, np.where(self.mean_mw > 0, self.mean_mw, 1.0)
        before, after = np.minimum(u, self.jump), np.maximum(u - self.jump, 0.0)
        step = (self.left_mw * before + self.right_mw * after) / mean
        parabola = u - (self.right_mw - self.left_mw) / 4 * u * (1 - u) / mean
        share: Floats = np.where(self.is_step, step, np.where(self.is_steady, parabola, u))
        # A share of 1 must be the knot itself, to the last bit.
        return np.where(u >= 1, 1.0, np.clip(share, 0.0, 1.0))


def courses(knots: Knots, times_ns: Int64, *, shaped: bool) -> Courses:
    """Return the courses at instants; needs two knots.

    Args:
        knots: the curve's.
        times_ns: nanoseconds since the epoch, shape (n,).
        shaped: whether power may jump or climb within a segment; else all are straight.
    """
    times = knots.times
    segment = np.clip(np.searchsorted(times, times_ns, "right"), 1, len(times) - 1) - 1
    span = (times[segment + 1] - times[segment]).astype(np.float64)
    share = np.clip((times_ns - times[segment]) / span, 0.0, 1.0)
    before, left, here, right = (knots.powers_mw(segment + k) for k in (-2, -1, 0, 1))
    both = knots.are_measured(segment - 1) & knots.are_measured(segment + 1)
    rise, next_rise = here - left, right - here
    monotone = both & knots.are_measured(segment) & (rise * next_rise > 0) & shaped
    steady = monotone & _are_alike(rise, next_rise) & _are_alike(rise, left - before)
    step = monotone & ~steady
    jump = np.where(step, next_rise / np.where(step, right - left, 1.0), 0.0)
    return Courses(
        segment, share, here, left, right, jump, step, steady,
        np.max(np.abs([left - before, rise, next_rise]), axis=0),
    )  # fmt: skip


def cumulative(knots: Knots, times_ns: Int64, *, shaped: bool) -> NDArray[np.int64]:
    """Return the cumulative columns at instants within the knots, shape (n, 3); whole, monotone."""
    course = courses(knots, times_ns, shaped=shaped)
    first, last = knots.rows[course.segment], knots.rows[course.segment + 1]
    shares = np.repeat(course.share[:, None], first.shape[1], axis=1)
    shares[:, ENERGY] = course.energy_share()
    return np.asarray(first + np.floor((last - first) * shares).astype(np.int64))


def variances_mj2(knots: Knots, begins_ns: Int64, ends_ns: Int64, *, shaped: bool) -> Floats:
    """Return the squared timing error of the energies between instants, one sigma."""
    begin = courses(knots, begins_ns, shaped=shaped)
    end = courses(knots, ends_ns, shaped=shaped)
    same = begin.segment == end.segment
    # Errors at two instants of one segment are those of the part between them.
    part = end.share - begin.share
    within = _shape_variance(knots, end, part) + _jitter_variance(knots, end, 2 * part**2)
    apart = _variance_at(knots, begin) + _variance_at(knots, end)
    inside = np.where(same, within, apart)
    return np.asarray(inside + _beyond_variance(knots, begins_ns, ends_ns), np.float64)


def cut(
    begin_ns: int, end_ns: int, energy_mj: int, samples: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Cut a segment where samples of its power say that it changed.

    Args:
        begin_ns: its first instant.
        end_ns: its last.
        energy_mj: what it used, by the counter.
        samples: (instant, milliwatts), in order; each holds until midway to the next.

    Returns:
        (instant, millijoules up to it since the cut before); none where the samples are too few
        or do not agree with the counter. What is left of ``energy_mj`` belongs to the last part.
    """
    new = [one for before, one in pairwise(samples) if one[1] != before[1]]
    new = [(ns, mw) for ns, mw in new if begin_ns < ns < end_ns]
    if len(new) < FEWEST_SAMPLES:
        return []
    middles = [ns for ns, _ in new[:-1]]
    edges = [begin_ns, *middles, end_ns]
    parts = [mw * (b - a) / 1e9 for (_, mw), (a, b) in zip(new, pairwise(edges), strict=True)]
    if not 1 / AGREEMENT <= energy_mj / max(sum(parts), 1.0) <= AGREEMENT:
        return []
    scale = SAMPLE_WEIGHT * energy_mj / sum(parts)
    level = (1 - SAMPLE_WEIGHT) * energy_mj / (end_ns - begin_ns)
    return [
        (b, int(part * scale + level * (b - a)))
        for part, (a, b) in zip(parts[:-1], pairwise(edges[:-1]), strict=True)
    ]


def _shape_variance(knots: Knots, course: Courses, part: Floats) -> Floats:
    at = course.segment
    span_ns = (knots.times[at + 1] - knots.times[at]).astype(np.float64)
    error = np.where(course.is_step, STEP_ERROR, STRAIGHT_ERROR) * course.contrast_mw
    error = np.hypot(error, LEVEL_ERROR * course.mean_mw)
    return np.asarray((error * span_ns / 1e9) ** 2 * 4 * part * (1 - part), np.float64)


def _jitter_variance(knots: Knots, course: Courses, weight: Floats) -> Floats:
    """Return the error that comes from knots whose instants are known to a few milliseconds."""
    at = course.segment
    jitter_ns = np.maximum(knots.jitter_ns[at], knots.jitter_ns[at + 1])
    return np.asarray((course.mean_mw * jitter_ns / 1e9) ** 2 * weight, np.float64)


def _variance_at(knots: Knots, course: Courses) -> Floats:
    u = course.share
    return _shape_variance(knots, course, u) + _jitter_variance(knots, course, 1 - 2 * u * (1 - u))


def _beyond_variance(knots: Knots, begins_ns: Int64, ends_ns: Int64) -> Floats:
    times = knots.times
    power_mw = knots.powers_mw(np.array([0, len(times) - 2]))
    before_ns = np.maximum(times[0] - begins_ns, 0) - np.maximum(times[0] - ends_ns, 0)
    after_ns = np.maximum(ends_ns - times[-1], 0) - np.maximum(begins_ns - times[-1], 0)
    first = (BEYOND_ERROR * power_mw[0] * before_ns / 1e9) ** 2
    last = (BEYOND_ERROR * power_mw[1] * after_ns / 1e9) ** 2
    return np.asarray(first + last, np.float64)


def _are_alike(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Return where two differences have one sign and are alike in size."""
    small, large = np.minimum(abs(one), abs(other)), np.maximum(abs(one), abs(other))
    return np.asarray((one * other > 0) & (large <= STEADY_RATIO * small), np.bool_)
