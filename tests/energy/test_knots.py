"""Knots: growing arrays that are decimated, trimmed and asked for the power of their segments."""

from __future__ import annotations

import numpy as np
import pytest

from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.knots import ESTIMATED_NS, INITIAL_CAPACITY, Knots
from carbon_trainer.energy.sources.base import Reading

S = 1_000_000_000


def filled(count: int) -> Knots:
    """A knot each second; 100 W, all of it measured but the third segment."""
    knots = Knots()
    for second in range(count):
        estimated_ns = S if second >= 3 else 0
        knots.push(second * S, (second * 100_000, estimated_ns, 0), second)
    return knots


def test_arrays_grow_and_keep_what_was_pushed() -> None:
    count = 2 * INITIAL_CAPACITY + 1
    knots = filled(count)
    assert len(knots) == count
    assert (knots.times == np.arange(count) * S).all()
    assert (knots.rows[:, 0] == np.arange(count) * 100_000).all()
    assert (knots.jitter_ns == np.arange(count)).all()


def test_decimation_halves_the_older_half_and_keeps_recent_knots() -> None:
    knots = filled(20)
    knots.decimate()
    assert (knots.times // S).tolist() == [0, 2, 4, 6, 8, *range(10, 20)]
    assert knots.powers_mw(np.arange(14)) == pytest.approx([100_000] * 14)


def test_the_oldest_knots_can_be_dropped() -> None:
    knots = filled(20)
    knots.forget_first(15)
    assert (knots.times // S).tolist() == [15, 16, 17, 18, 19]
    assert (knots.rows[:, ESTIMATED_NS] == S).all()


def test_beyond_the_ends_is_the_nearest_segments_power_but_nothing_measured() -> None:
    knots = filled(6)
    assert knots.powers_mw(np.array([-2, 0, 9])) == pytest.approx([100_000] * 3)
    assert knots.are_measured(np.arange(-1, 6)).tolist() == [
        False, True, True, False, True, True, False
    ]  # fmt: skip


@pytest.mark.slow
def test_a_meter_that_nobody_drains_keeps_its_total_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("carbon_trainer.energy.knots.MAX_KNOTS", 2048)
    curve = EnergyCurve(0)
    for second in range(20_000):
        curve.append(Reading(second * S, second * 100, None))
    assert len(curve._knots._times) == 2048
    assert curve.total(19_999 * S).energy_mj == 1_999_900
    assert curve.total(19_999 * S).measured_s == 19_999
