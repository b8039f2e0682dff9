"""Energy between two knots, and the error of it.

A counter gives a segment's energy, not its profile. Training draws power in levels, so where a
segment's mean lies between those of its neighbours, the likely profile is a jump from the one to
the other that keeps the segment's energy (subcell resolution: A. Harten, J. Comput. Phys. 83,
1989); where power climbs steadily the energy is a parabola; else it is linear.
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
"""One sigma of the profile's error in a segment's middle half, as a fraction of the largest
difference to a neighbour's power; fitted on square, ramp, burst and training waves."""

LEVEL_ERROR = 0.01
"""The same as a fraction of the segment's own power: what similar neighbours cannot show."""

MIN_SAMPLES = 3
SAMPLE_WEIGHT = 0.5
"""Sensors sample for a part of the time only (a quarter on H100, half on V100: data of arXiv
2312.02741), so samples get half of the weight, the segment's mean the other half."""

AGREEMENT = 1.3
"""Samples that are this factor off the counter's energy have missed a part of it."""

BEYOND_ERROR = 0.5
"""One sigma of what is extrapolated beyond the ends, relative."""


@dataclass(frozen=True, slots=True)
class SegmentProfiles:
    """The profile of power in the segments of some instants; arrays of one length.

    Attributes:
        segment: which segment an instant lies in.
        fraction: how far into it, 0 to 1.
        mean_mw: its mean power.
        left_mw: the power before the jump.
        right_mw: the power after it.
        jump: where it jumps, 0 to 1.
        is_step: whether it jumps.
        is_steady: whether it climbs or falls steadily.
        contrast_mw: the largest difference to a neighbour.
    """

    segment: NDArray[np.intp]
    fraction: Floats
    mean_mw: Floats
    left_mw: Floats
    right_mw: Floats
    jump: Floats
    is_step: NDArray[np.bool_]
    is_steady: NDArray[np.bool_]
    contrast_mw: Floats

    def energy_fraction(self) -> Floats:
        """Return the fraction of the segment's energy that is used up to the instants."""
        u, mean = self.fraction, np.where(self.mean_mw > 0, self.mean_mw, 1.0)
        before, after = np.minimum(u, self.jump), np.maximum(u - self.jump, 0.0)
        step = (self.left_mw * before + self.right_mw * after) / mean
        parabola = u - (self.right_mw - self.left_mw) / 4 * u * (1 - u) / mean
        fraction: Floats = np.where(self.is_step, step, np.where(self.is_steady, parabola, u))
        # A fraction of 1 must be the knot itself, to the last bit: else parts of a run would not
        # sum to the whole exactly.
        return np.where(u >= 1, 1.0, np.clip(fraction, 0.0, 1.0))


def segment_profiles(knots: Knots, times_ns: Int64, *, shaped: bool) -> SegmentProfiles:
    """Return the profiles at instants; needs two knots.

    Args:
        knots: the curve's.
        times_ns: nanoseconds since the epoch, shape (n,).
        shaped: whether power may jump or climb within a segment; else it is constant.
    """
    times = knots.times
    segment = np.clip(np.searchsorted(times, times_ns, "right"), 1, len(times) - 1) - 1
    span = (times[segment + 1] - times[segment]).astype(np.float64)
    fraction = np.clip((times_ns - times[segment]) / span, 0.0, 1.0)
    before, left_edge, middle, right = (knots.powers_mw(segment + k) for k in (-2, -1, 0, 1))
    # Estimated neighbours would shape a measured segment by a guess.
    neighbours_measured = knots.are_measured(segment - 1) & knots.are_measured(segment + 1)
    rise, next_rise = middle - left_edge, right - middle
    # Only a mean between its neighbours' can be a jump between them: a peak or a dip cannot.
    monotone = neighbours_measured & knots.are_measured(segment) & shaped
    monotone &= rise * next_rise > 0
    steady = monotone & _are_alike(rise, next_rise) & _are_alike(rise, left_edge - before)
    step = monotone & ~steady
    # left * jump + right * (1 - jump) = here, solved for the jump: the energy is kept.
    jump = np.where(step, next_rise / np.where(step, right - left_edge, 1.0), 0.0)
    return SegmentProfiles(
        segment, fraction, middle, left_edge, right, jump, step, steady,
        np.max(np.abs([left_edge - before, rise, next_rise]), axis=0),
    )  # fmt: skip


def cumulative(knots: Knots, times_ns: Int64, *, shaped: bool) -> NDArray[np.int64]:
    """Return the cumulative columns at instants within the knots, shape (n, 3); whole, monotone."""
    profile = segment_profiles(knots, times_ns, shaped=shaped)
    first, last = knots.rows[profile.segment], knots.rows[profile.segment + 1]
    fractions = np.repeat(profile.fraction[:, None], first.shape[1], axis=1)
    fractions[:, ENERGY] = profile.energy_fraction()
    # Whole millijoules of the cumulative curve, not of differences: so differences add up exactly.
    return np.asarray(first + np.floor((last - first) * fractions).astype(np.int64))


def variances_mj2(knots: Knots, begins_ns: Int64, ends_ns: Int64, *, shaped: bool) -> Floats:
    """Return the variance of the energies between instants, by timing and profile."""
    begin = segment_profiles(knots, begins_ns, shaped=shaped)
    end = segment_profiles(knots, ends_ns, shaped=shaped)
    in_one_segment = begin.segment == end.segment
    # The errors at two instants of one segment are correlated, so their variances must not be
    # added: the error is that of the part between them, and none for a whole segment or nothing.
    part = end.fraction - begin.fraction
    within = _profile_variance(knots, end, part) + _jitter_variance(knots, end, 2 * part**2)
    # In different segments they are taken as independent: the counter fixes each segment's energy.
    across = _variance_at(knots, begin) + _variance_at(knots, end)
    inside = np.where(in_one_segment, within, across)
    return np.asarray(inside + _beyond_variance(knots, begins_ns, ends_ns), np.float64)


def split_by_samples(
    begin_ns: int, end_ns: int, energy_mj: int, samples: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Split a segment where samples of its power show that it changed.

    Args:
        begin_ns: its first instant.
        end_ns: its last.
        energy_mj: its energy, by the counter.
        samples: (instant, milliwatts), in order; each is the mean power since the one before.

    Returns:
        (instant, millijoules up to it since the one before); none where the samples are too few
        or do not agree with the counter. The rest of ``energy_mj`` belongs to the last part.
    """
    # A sample equal to the one before is most likely the same value of the sensor, read again.
    new = [sample for previous, sample in pairwise(samples) if sample[1] != previous[1]]
    new = [(ns, mw) for ns, mw in new if begin_ns < ns < end_ns]
    if len(new) < MIN_SAMPLES:
        return []
    # A sensor shows the mean power up to its refresh, so a sample holds back to the one before.
    edges = [begin_ns, *(ns for ns, _ in new[:-1]), end_ns]
    parts = [mw * (b - a) / 1e9 for (_, mw), (a, b) in zip(new, pairwise(edges), strict=True)]
    if not 1 / AGREEMENT <= energy_mj / max(sum(parts), 1.0) <= AGREEMENT:
        return []
    scale = SAMPLE_WEIGHT * energy_mj / sum(parts)
    level = (1 - SAMPLE_WEIGHT) * energy_mj / (end_ns - begin_ns)
    # Scaled to the counter's energy: samples give the profile only, the counter the amount.
    return [
        (b, int(part * scale + level * (b - a)))
        for part, (a, b) in zip(parts[:-1], pairwise(edges[:-1]), strict=True)
    ]


def _profile_variance(knots: Knots, profile: SegmentProfiles, part: Floats) -> Floats:
    """Return the error of not knowing the power's profile within a segment.

    It is zero at both knots, where the counter gives the energy, and greatest in the middle:
    4 u (1 - u) is the variance of a Brownian bridge, 1 in the middle.
    """
    position = profile.segment
    span_ns = (knots.times[position + 1] - knots.times[position]).astype(np.float64)
    error = np.where(profile.is_step, STEP_ERROR, STRAIGHT_ERROR) * profile.contrast_mw
    error = np.hypot(error, LEVEL_ERROR * profile.mean_mw)
    return np.asarray((error * span_ns / 1e9) ** 2 * 4 * part * (1 - part), np.float64)


def _jitter_variance(knots: Knots, profile: SegmentProfiles, weight: Floats) -> Floats:
    """Return the error of knots whose instants are known to a few milliseconds only.

    At a fraction u both knots shift the energy, by 1 - u and by u: the weight of independent
    shifts is (1 - u)^2 + u^2; between two instants both shift by the part, hence 2 part^2.
    """
    position = profile.segment
    jitter_ns = np.maximum(knots.jitter_ns[position], knots.jitter_ns[position + 1])
    return np.asarray((profile.mean_mw * jitter_ns / 1e9) ** 2 * weight, np.float64)


def _variance_at(knots: Knots, profile: SegmentProfiles) -> Floats:
    u = profile.fraction
    weight = 1 - 2 * u * (1 - u)
    return _profile_variance(knots, profile, u) + _jitter_variance(knots, profile, weight)


def _beyond_variance(knots: Knots, begins_ns: Int64, ends_ns: Int64) -> Floats:
    times = knots.times
    power_mw = knots.powers_mw(np.array([0, len(times) - 2]))
    before_ns = np.maximum(times[0] - begins_ns, 0) - np.maximum(times[0] - ends_ns, 0)
    after_ns = np.maximum(ends_ns - times[-1], 0) - np.maximum(begins_ns - times[-1], 0)
    first = (BEYOND_ERROR * power_mw[0] * before_ns / 1e9) ** 2
    last = (BEYOND_ERROR * power_mw[1] * after_ns / 1e9) ** 2
    return np.asarray(first + last, np.float64)


def _are_alike(first: Floats, second: Floats) -> NDArray[np.bool_]:
    """Return where two differences have one sign and similar sizes."""
    small, large = np.minimum(abs(first), abs(second)), np.maximum(abs(first), abs(second))
    return np.asarray((first * second > 0) & (large <= STEADY_RATIO * small), np.bool_)
