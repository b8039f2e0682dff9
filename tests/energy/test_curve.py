"""The curve: parts add up to the whole, nothing is negative, faults are marked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.sources.base import Reading

S = 1_000_000_000


def counter(second: float, energy_mj: int, power_mw: int | None = None) -> Reading:
    return Reading(round(second * S), energy_mj, power_mw)


def power(second: float, power_mw: int) -> Reading:
    return Reading(round(second * S), None, power_mw)


def filled(*readings: Reading, start_s: float = 0) -> EnergyCurve:
    curve = EnergyCurve(round(start_s * S))
    for reading in readings:
        curve.append(reading)
    return curve


def test_energy_between_knots_is_the_counters_difference() -> None:
    curve = filled(counter(0, 500), counter(1, 700), counter(3, 1700))
    assert curve.energy(0, 1 * S).energy_mj == 200
    assert curve.energy(1 * S, 3 * S).energy_mj == 1000
    assert curve.energy(0, 3 * S).measured_s == 3


def test_energy_within_a_segment_is_its_share() -> None:
    curve = filled(counter(0, 0), counter(2, 1000))
    assert curve.energy(0, S // 2).energy_mj == 250


def test_before_the_first_knot_the_neighbouring_power_holds_and_is_estimated() -> None:
    curve = filled(counter(2, 50), counter(3, 150))
    early = curve.energy(0, 3 * S)
    assert early.energy_mj == 300
    assert (early.measured_s, early.estimated_s) == (1, 2)


def test_after_the_last_knot_the_neighbouring_power_holds_and_is_estimated() -> None:
    curve = filled(counter(0, 0), counter(1, 100))
    late = curve.energy(0, 3 * S)
    assert late.energy_mj == 300
    assert (late.measured_s, late.estimated_s) == (1, 2)
    assert curve.final_until_ns == 1 * S


def test_power_is_integrated_by_trapezoids() -> None:
    curve = filled(power(0, 100_000), power(1, 300_000), power(2, 300_000))
    assert curve.energy(0, 2 * S).energy_mj == 200_000 + 300_000


def test_a_counter_that_is_reset_is_bridged_by_the_power_before_and_marked() -> None:
    curve = filled(counter(0, 1000), counter(1, 2000), counter(2, 30), counter(3, 1030))
    total = curve.energy(0, 3 * S)
    assert total.energy_mj == 3000
    assert (total.measured_s, total.estimated_s) == (2, 1)


def test_a_lost_device_adds_no_known_energy() -> None:
    curve = filled(counter(0, 0), counter(1, 100))
    curve.mark_lost(1 * S)
    lost = curve.energy(1 * S, 5 * S)
    assert (lost.energy_mj, lost.unknown_s, lost.measured_s) == (0, 4, 0)


def test_a_counter_that_kept_counting_has_measured_a_loss() -> None:
    curve = filled(counter(0, 0), counter(1, 100))
    curve.mark_lost(1 * S)
    curve.append(counter(5, 900))
    assert curve.energy(0, 5 * S).energy_mj == 900
    assert curve.energy(0, 5 * S).unknown_s == 0


def test_a_device_that_was_reset_while_away_leaves_its_absence_unknown() -> None:
    curve = filled(counter(0, 0), counter(1, 100))
    curve.mark_lost(2 * S)
    curve.append(counter(6, 7))
    total = curve.energy(0, 6 * S)
    assert total.energy_mj == 200
    assert (total.measured_s, total.estimated_s, total.unknown_s) == (1, 1, 4)


def test_a_device_that_was_away_from_the_start_leaves_that_time_unknown() -> None:
    curve = EnergyCurve(0)
    curve.mark_lost(0)
    curve.append(counter(5, 100))
    curve.append(counter(6, 200))
    total = curve.energy(0, 6 * S)
    assert (total.energy_mj, total.unknown_s, total.measured_s) == (100, 5, 1)


def test_a_budget_counts_a_lost_device_at_its_last_power() -> None:
    curve = filled(counter(0, 0), counter(1, 100))
    curve.mark_lost(1 * S)
    assert curve.used_mj(5 * S) == 100
    assert curve.used_mj(5 * S, upper=True) == 500


def test_late_and_repeated_readings_are_ignored() -> None:
    curve = filled(counter(1, 100), counter(2, 200))
    assert not curve.append(counter(2, 300))
    assert not curve.append(counter(1.5, 300))
    assert not curve.append(counter(3, 200))
    assert curve.energy(1 * S, 2 * S).energy_mj == 100


def test_a_stepped_counter_begins_with_its_first_change() -> None:
    curve = EnergyCurve(0, stepped=True)
    curve.append(counter(0.01, 1000))
    curve.append(counter(0.02, 1100), changed_ns=round(0.015 * S))
    curve.append(counter(0.12, 1200), changed_ns=round(0.115 * S))
    assert curve.energy(round(0.015 * S), round(0.115 * S)).energy_mj == 100


def test_before_any_reading_everything_is_unknown() -> None:
    empty = EnergyCurve(0).energy(0, 3 * S)
    assert (empty.energy_mj, empty.unknown_s) == (0, 3)


def test_a_recent_peak_is_remembered_for_a_minute() -> None:
    curve = filled(counter(0, 0), counter(1, 900), counter(2, 1000), counter(3, 1100))
    assert curve.peak_power_w() == pytest.approx(0.9)
    for second in range(4, 70):
        curve.append(counter(second, 1000 + 100 * (second - 2)))
    assert curve.peak_power_w() == pytest.approx(0.1)


def test_old_knots_can_be_dropped_without_changing_the_total() -> None:
    curve = filled(*(counter(s, s * 100) for s in range(5000)))
    totals = curve.total(4999 * S).energy_mj, curve.used_mj(4999 * S)
    curve.forget_before(4000 * S)
    assert (curve.total(4999 * S).energy_mj, curve.used_mj(4999 * S)) == totals
    assert curve.energy(4500 * S, 4600 * S).energy_mj == 10_000


steps = st.lists(
    st.tuples(st.integers(1, 10**9), st.integers(0, 10**6), st.sampled_from("clprr")),
    min_size=1, max_size=40,
)  # fmt: skip


def _random_curve(
    steps: list[tuple[int, int, str]], *, stepped: bool = False
) -> tuple[EnergyCurve, int]:
    """A curve through counters, losses and resets; a stepped one has jumps and climbs."""
    curve, now_ns, energy_mj = EnergyCurve(0, stepped=stepped), 0, 0
    for span_ns, used_mj, kind in steps:
        now_ns += span_ns
        energy_mj += used_mj
        if kind == "l":
            curve.mark_lost(now_ns)
        elif kind == "p":
            energy_mj = used_mj
            curve.append(Reading(now_ns, energy_mj, 1000))
        else:
            curve.append(Reading(now_ns, energy_mj, 1000))
    return curve, now_ns


@pytest.mark.slow
@given(steps=steps, cuts=st.lists(st.floats(-0.2, 1.3), max_size=20), stepped=st.booleans())
def test_any_partitions_energies_sum_to_the_whole_exactly(
    steps: list[tuple[int, int, str]], cuts: list[float], stepped: bool
) -> None:
    curve, end_ns = _random_curve(steps, stepped=stepped)
    times = sorted(round(cut * end_ns) for cut in [-0.2, *cuts, 1.3])
    parts = [curve.energy(a, b) for a, b in pairwise(times)]
    total = curve.energy(times[0], times[-1])
    assert sum(part.energy_mj for part in parts) == total.energy_mj


@given(steps=steps, stepped=st.booleans())
def test_cumulative_energy_never_falls(steps: list[tuple[int, int, str]], stepped: bool) -> None:
    curve, end_ns = _random_curve(steps, stepped=stepped)
    times = np.linspace(-end_ns // 5, end_ns * 6 // 5, 200).astype(np.int64)
    assert (np.diff(curve.energies_mj(times)) >= 0).all()


@pytest.mark.slow
@given(steps=steps, at=st.floats(0, 1), width=st.floats(0, 0.5))
def test_every_second_is_measured_estimated_or_unknown(
    steps: list[tuple[int, int, str]], at: float, width: float
) -> None:
    curve, end_ns = _random_curve(steps)
    begin, end = round(at * end_ns), round((at + width) * end_ns)
    part = curve.energy(begin, end)
    seconds = (part.measured_s, part.estimated_s, part.unknown_s)
    assert min(seconds) >= -2e-9
    assert sum(seconds) == pytest.approx((end - begin) / 1e9, abs=1e-6)


@pytest.mark.slow
@given(steps=steps, spans=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3)), min_size=1))
def test_the_order_of_spans_changes_nothing(
    steps: list[tuple[int, int, str]], spans: list[tuple[float, float]]
) -> None:
    curve, end_ns = _random_curve(steps, stepped=True)
    begins = np.array([round(at * end_ns) for at, _ in spans], np.int64)
    ends = begins + np.array([round(width * end_ns) for _, width in spans], np.int64)
    forward, backward = curve.parts(begins, ends), curve.parts(begins[::-1], ends[::-1])
    assert (forward.energy_mj == backward.energy_mj[::-1]).all()
    singles = [curve.energy(int(b), int(e)) for b, e in zip(begins, ends, strict=True)]
    assert forward.energy_mj.tolist() == [part.energy_mj for part in singles]


@given(steps=steps)
def test_a_counters_own_readings_are_the_curves_knots(
    steps: list[tuple[int, int, str]],
) -> None:
    curve, _ = _random_curve(steps, stepped=True)
    knots = curve._knots
    assert (curve.energies_mj(knots.times) == knots.rows[:, 0]).all()


def test_a_jump_between_two_levels_is_found_where_it_was() -> None:
    """100 W until 0.27 s, 700 W from then on; the counter changes each 0.1 s."""
    curve = EnergyCurve(0, stepped=True)
    for tenth in range(8):
        second = tenth / 10
        used_j = 100 * min(second, 0.27) + 700 * max(0.0, second - 0.27)
        curve.append(counter(second, round(used_j * 1000)), changed_ns=round(second * S))
    assert curve.energy(round(0.2 * S), round(0.27 * S)).energy_mj == pytest.approx(7000, abs=2)
    assert curve.energy(round(0.27 * S), round(0.3 * S)).energy_mj == pytest.approx(21_000, abs=2)
