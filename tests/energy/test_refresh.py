"""The refresh of a counter: learnt from polls, and given up where there is none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.energy.refresh import RefreshTracker

MS = 1_000_000


def tracked(
    period_ns: int, first_ns: int, changes: int, poll_ns: int
) -> tuple[RefreshTracker, list[int]]:
    """Look each ``poll_ns`` at a counter that changes steadily; return the changes as dates_ns."""
    tracker, dates_ns = RefreshTracker(), []
    for period in range(changes):
        change_ns = first_ns + period * period_ns
        after_ns = change_ns // poll_ns * poll_ns
        dates_ns.append(tracker.observe(after_ns, after_ns + poll_ns).time_ns)
    return tracker, dates_ns


@pytest.mark.slow
@given(
    period_ns=st.integers(15 * MS, 120 * MS),
    first_ns=st.integers(0, 10**9),
    fraction=st.floats(0.02, 0.15),
)
def test_a_steady_refresh_is_learnt_in_a_dozen_changes(
    period_ns: int, first_ns: int, fraction: float
) -> None:
    tracker, _ = tracked(period_ns, first_ns, 13, round(fraction * period_ns))
    assert tracker.is_locked
    assert tracker.period_ns == pytest.approx(period_ns, rel=0.03)


@pytest.mark.slow
@given(first_ns=st.integers(0, 10**9))
def test_a_change_is_dated_between_the_polls_that_show_it(first_ns: int) -> None:
    poll_ns = 3 * MS
    _, dates_ns = tracked(21 * MS, first_ns, 40, poll_ns)
    for period, time_ns in enumerate(dates_ns):
        after_ns = (first_ns + period * 21 * MS) // poll_ns * poll_ns
        assert after_ns <= time_ns <= after_ns + poll_ns


def test_irregular_changes_are_not_predicted() -> None:
    generator, tracker, now_ns = random.Random(1), RefreshTracker(), 0
    for _ in range(100):
        now_ns += generator.randint(10 * MS, 100 * MS)
        tracker.observe(now_ns - 2 * MS, now_ns)
    assert not tracker.is_locked
    assert not tracker.is_learning
