"""The profile of power between two knots, and the error of what is read from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.energy.interpolation import (
    cumulative,
    segment_profiles,
    split_by_samples,
    variances_mj2,
)
from carbon_trainer.energy.knots import Knots

S = 1_000_000_000


def knots_of(powers_w: list[float], *, jitter_ns: int = 0, segment_ns: int = S // 10) -> Knots:
    """Knots between segments of equal length and of these powers."""
    knots, energy_mj = Knots(), 0
    knots.push(0, (0, 0, 0), jitter_ns)
    for segment, watts in enumerate(powers_w, 1):
        energy_mj += round(watts * segment_ns / 1e6)
        knots.push(segment * segment_ns, (energy_mj, 0, 0), jitter_ns)
    return knots


def energy_mj(knots: Knots, begin_s: float, end_s: float) -> int:
    times_ns = np.array([round(begin_s * S), round(end_s * S)], np.int64)
    begin, end = cumulative(knots, times_ns, shaped=True)[:, 0]
    return int(end - begin)


def test_a_mean_between_its_neighbours_is_a_jump_that_keeps_the_energy() -> None:
    knots = knots_of([100, 100, 520, 700, 700])
    # 30 ms at 100 W, then 70 ms at 700 W.
    assert energy_mj(knots, 0.2, 0.23) == pytest.approx(3000, abs=2)
    assert energy_mj(knots, 0.23, 0.3) == pytest.approx(49_000, abs=2)
    assert energy_mj(knots, 0.2, 0.3) == 52_000


def test_a_steady_climb_is_a_parabola() -> None:
    knots = knots_of([100, 200, 300, 400, 500])
    # From 250 W to 350 W: the mean of the first half is 275 W.
    assert energy_mj(knots, 0.2, 0.25) == pytest.approx(275 * 50, abs=2)


def test_a_peak_is_linear_as_it_cannot_be_a_jump() -> None:
    knots = knots_of([100, 100, 700, 100, 100])
    profiles = segment_profiles(knots, np.array([S // 4], np.int64), shaped=True)
    assert not profiles.is_step[0]
    assert energy_mj(knots, 0.2, 0.25) == 35_000


def test_a_segment_is_linear_where_its_profile_is_not_to_be_shaped() -> None:
    knots = knots_of([100, 100, 520, 700, 700])
    times_ns = np.array([S // 4], np.int64)
    assert cumulative(knots, times_ns, shaped=False)[0, 0] == 20_000 + 26_000


def test_energy_from_knot_to_knot_has_no_error_but_that_of_the_knots_instants() -> None:
    begins, ends = np.array([S // 10]), np.array([3 * S // 10])
    powers_w = [100.0, 400.0, 250.0, 700.0, 100.0]
    assert variances_mj2(knots_of(powers_w), begins, ends, shaped=True)[0] == 0
    jitter_ns = 2_000_000
    sigma_mj = variances_mj2(knots_of(powers_w, jitter_ns=jitter_ns), begins, ends, shaped=True)
    # 700 W and 250 W begin 2 ms early or late.
    assert np.sqrt(sigma_mj[0]) == pytest.approx(np.hypot(400, 700) * 2, rel=0.2)


def test_the_error_is_greatest_in_the_middle_of_a_segment() -> None:
    knots = knots_of([100, 700, 100, 700, 100])
    begins = np.full(9, 2 * S // 10)
    ends = begins + np.arange(1, 10) * S // 100
    errors = variances_mj2(knots, begins, ends, shaped=True)
    assert errors.argmax() == 4
    assert errors[0] == pytest.approx(errors[-1])


def test_what_is_extrapolated_is_uncertain_by_half() -> None:
    knots = knots_of([200, 200, 200])
    variance_mj2 = variances_mj2(
        knots, np.array([3 * S // 10]), np.array([4 * S // 10]), shaped=True
    )
    assert np.sqrt(variance_mj2[0]) == pytest.approx(0.5 * 200 * 100, rel=0.01)


SAMPLES = [(0, 90_000), (20_000_000, 100_000), (40_000_000, 400_000), (60_000_000, 700_000)]


def test_samples_split_a_segment_and_the_counter_gives_the_energy() -> None:
    parts = split_by_samples(0, 100_000_000, 50_000, SAMPLES)
    assert [ns for ns, _ in parts] == [20_000_000, 40_000_000]
    # 100 W, 400 W, then 700 W for 60 ms: 52 J, of the counter's 50 J; half of the weight is theirs.
    fractions = [100 * 20 / 52_000, 400 * 20 / 52_000]
    expected_mj = [0.5 * 50_000 * fraction + 0.5 * 50_000 * 0.2 for fraction in fractions]
    assert [mj for _, mj in parts] == pytest.approx(expected_mj, abs=1)


@pytest.mark.parametrize("energy_mj", [30_000, 90_000])
def test_samples_that_contradict_the_counter_are_not_used(energy_mj: int) -> None:
    assert split_by_samples(0, 100_000_000, energy_mj, SAMPLES) == []


def test_two_new_samples_are_too_few() -> None:
    assert split_by_samples(0, 100_000_000, 50_000, SAMPLES[:3]) == []
    repeated = [(ns + 1_000_000, mw) for ns, mw in SAMPLES[:3]]
    assert split_by_samples(0, 100_000_000, 50_000, sorted([*SAMPLES[:3], *repeated])) == []


@given(
    st.dictionaries(st.integers(1, 10**8), st.integers(0, 10**6), max_size=12),
    st.integers(0, 10**6),
)
def test_the_parts_of_a_split_are_in_order_and_no_more_than_the_whole(
    samples: dict[int, int], energy_mj: int
) -> None:
    parts = split_by_samples(0, 10**8, energy_mj, sorted(samples.items()))
    assert all(mj >= 0 for _, mj in parts)
    assert sum(mj for _, mj in parts) <= energy_mj
    times_ns = [ns for ns, _ in parts]
    assert times_ns == sorted(set(times_ns) & set(samples))
