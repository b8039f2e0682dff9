from __future__ import annotations

import dataclasses

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.planning.problem import NS_PER_H, Idle, Objective, PowerSetting, edges_ns, hull
from tests.planning.problems import POWER_SETTINGS, problem


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"work_hours": 0}, "more than 0 hours"),
        ({"work_hours": float("nan")}, "more than 0 hours"),
        ({"deadline_ns": 0}, "in the past"),
        ({"deadline_ns": 5 * NS_PER_H}, "does not cover"),
        ({"power_settings": ()}, "no power setting"),
        ({"power_settings": (PowerSetting(100, 0.0),)}, "speed above 0"),
        ({"power_settings": (PowerSetting(-1, 1.0),)}, "at least 0"),
        ({"pause": Idle(-5.0)}, "pause: power"),
        ({"queue_w": -1.0}, "queue"),
        ({"objective": Objective(0.0, 1.0)}, "a price is needed"),
        ({"blackouts": ((5, 5),)}, "must end after"),
    ],
)
def test_a_problem_that_cannot_be_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        dataclasses.replace(problem([100, 200], 1), **changes)


def test_settings_may_come_in_any_order_and_dominated_ones_are_named() -> None:
    assert hull(list(reversed(POWER_SETTINGS))) == sorted(POWER_SETTINGS)
    worse = PowerSetting(940, 0.9)
    assert problem([1], 0.5, power_settings=(*POWER_SETTINGS, worse)).dominated_settings() == [
        worse
    ]


def test_slots_are_cut_where_anything_changes() -> None:
    half = NS_PER_H // 2
    job = problem([1, 2], 1, blackouts=((half, NS_PER_H),), now_ns=10, deadline_ns=NS_PER_H + 5)
    assert edges_ns(job).tolist() == [10, half, NS_PER_H, NS_PER_H + 5]
