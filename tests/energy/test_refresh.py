"""The rhythm of a counter: found from looks, kept through drift, given up where there is none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.energy.refresh import RefreshTracker
from tests.energy.drive import Driven
from tests.simulation.nvml import SimulatedGpu
from tests.simulation.power import Constant

MS = 1_000_000


def taught(
    period_ns: int, first_ns: int, changes: int, look_ns: int
) -> tuple[RefreshTracker, list[int]]:
    """Look each ``look_ns`` at a counter that changes steadily; return the changes as placed."""
    rhythm, placed = RefreshTracker(), []
    for turn in range(changes):
        change_ns = first_ns + turn * period_ns
        after_ns = change_ns // look_ns * look_ns
        placed.append(rhythm.observe(after_ns, after_ns + look_ns).time_ns)
    return rhythm, placed


@pytest.mark.slow
@given(
    period_ns=st.integers(15 * MS, 120 * MS),
    first_ns=st.integers(0, 10**9),
    share=st.floats(0.02, 0.15),
)
def test_a_steady_refresh_is_learnt_in_a_dozen_changes(
    period_ns: int, first_ns: int, share: float
) -> None:
    rhythm, _ = taught(period_ns, first_ns, 13, round(share * period_ns))
    assert rhythm.is_locked
    assert rhythm.period_ns == pytest.approx(period_ns, rel=0.03)


@pytest.mark.slow
@given(first_ns=st.integers(0, 10**9))
def test_a_change_is_placed_between_the_looks_that_saw_it(first_ns: int) -> None:
    look_ns = 3 * MS
    _, placed = taught(21 * MS, first_ns, 40, look_ns)
    for turn, time_ns in enumerate(placed):
        after_ns = (first_ns + turn * 21 * MS) // look_ns * look_ns
        assert after_ns <= time_ns <= after_ns + look_ns


def test_changes_without_a_rhythm_are_not_foretold() -> None:
    choose, rhythm, now_ns = random.Random(1), RefreshTracker(), 0
    for _ in range(100):
        now_ns += choose.randint(10 * MS, 100 * MS)
        rhythm.observe(now_ns - 2 * MS, now_ns)
    assert not rhythm.is_locked
    assert not rhythm.is_learning


@pytest.mark.parametrize("refresh_s", [0.02, 0.0333, 0.1])
def test_the_poller_keeps_a_real_counters_phase_for_long(refresh_s: float) -> None:
    driven = Driven(SimulatedGpu(power=Constant(300), refresh_s=refresh_s), step_s=1.0)
    driven.run(120)
    knots = driven.curve._knots.times[-50:] - driven.gpu.origin_ns
    period_ns = round(refresh_s * 1e9)
    off_ns = (knots + period_ns // 2) % period_ns - period_ns // 2
    assert abs(off_ns).max() < 2 * MS
    assert driven.poller.refresh_s == pytest.approx(refresh_s, rel=0.001)


def test_a_counter_whose_refresh_changes_is_learnt_anew() -> None:
    driven = Driven(SimulatedGpu(power=Constant(300), refresh_s=0.1), step_s=0.2)
    driven.run(10)
    driven.gpu.refresh_s = 0.02
    driven.run(20)
    assert driven.poller.refresh_s == pytest.approx(0.02, rel=0.05)
