"""Times of steps: a ring of the newest, and counts that go back to the first."""

from __future__ import annotations

import pytest

from carbon_trainer.energy.steps import MAX_STEPS, StepTimes

S = 1_000_000_000


def step_times(count: int) -> StepTimes:
    """Steps of 0.4 s that begin at each second."""
    steps = StepTimes()
    for second in range(count):
        steps.add(second * S, second * S + 2 * S // 5)
    return steps


def test_steps_come_back_in_order() -> None:
    begins, ends = step_times(3).recent()
    assert begins.tolist() == [0, S, 2 * S]
    assert ((ends - begins) == 2 * S // 5).all()


def test_very_many_steps_take_no_more_room_and_the_newest_stay() -> None:
    count = MAX_STEPS + 50
    steps = step_times(count)
    begins, _ = steps.recent()
    assert steps.count == count
    assert (len(begins), begins[0], begins[-1]) == (MAX_STEPS, 50 * S, (count - 1) * S)


def test_steps_that_have_ended_are_counted_also_those_that_were_dropped() -> None:
    assert step_times(3).counts_ended([0, S // 2, S, 9 * S]) == [0, 1, 1, 3]
    count = MAX_STEPS + 50
    assert step_times(count).counts_ended([100 * S, count * S]) == [100, count]


def test_the_shortest_is_that_of_the_last_four() -> None:
    steps = StepTimes()
    assert steps.shortest_s() is None
    for milliseconds in (1, 50, 40, 60, 70):
        steps.add(0, milliseconds * S // 1000)
    assert steps.shortest_s() == pytest.approx(0.04)
