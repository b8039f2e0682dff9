"""Plans are exact, within what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from carbon_trainer.planning.plan import InfeasibleError, Plan
from carbon_trainer.planning.problem import (
    NS_PER_H,
    Budgets,
    Idle,
    Mode,
    Objective,
    PlanProblem,
    PowerCap,
    PowerSetting,
)
from carbon_trainer.planning.solver import GOAL, solve
from tests.planning.exact import least_cost
from tests.planning.problems import POWER_SETTINGS, day, problem, problems, series


def _check(job: PlanProblem, plan: Plan) -> None:
    """What holds for every plan: whole, in order, in time, and adding up."""
    assert plan.slots[0].start_ns == job.now_ns
    assert all(a.end_ns == b.start_ns for a, b in zip(plan.slots, plan.slots[1:], strict=False))
    assert plan.finish_ns <= job.deadline_ns
    assert plan.work_hours == pytest.approx(job.work_hours, rel=1e-6)
    middles = np.array([(slot.start_ns + slot.end_ns) // 2 for slot in plan.slots])
    grams = [s.energy_kwh * g for s, g in zip(plan.slots, job.intensity.at(middles), strict=True)]
    assert sum(grams) == pytest.approx(plan.emissions_gco2e, rel=1e-9)


@pytest.mark.slow
@settings(max_examples=150, derandomize=True)
@given(problems())
def test_no_plan_is_better_and_the_bound_is_none_too_high(job: PlanProblem) -> None:
    exact = least_cost(job)
    try:
        plan = solve(job)
    except InfeasibleError:
        assert exact is None
        return
    assert exact is not None
    _check(job, plan)
    assert plan.emissions_gco2e <= exact * 1.001 + 1e-6
    assert plan.emissions_gco2e >= exact * (1 - 1e-5) - 1e-6
    assert plan.lower_bound_gco2e is not None
    assert plan.lower_bound_gco2e <= exact * (1 + 1e-6) + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("state", ["running", "paused"])
@settings(max_examples=40, derandomize=True)
@given(job=problems(longest=10))
def test_a_job_that_has_begun_is_planned_exactly_too(job: PlanProblem, state: str) -> None:
    begun = dataclasses.replace(job, state=state, pause=job.pause or Idle(100.0, 10.0, 0.003))
    exact = least_cost(begun)
    try:
        plan = solve(begun)
    except InfeasibleError:
        assert exact is None
        return
    assert exact is not None
    _check(begun, plan)
    assert exact * (1 - 1e-5) - 1e-6 <= plan.emissions_gco2e <= exact * 1.001 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("pause_w", [0.0, 190.0])
@pytest.mark.parametrize("slack", [1.25, 2.0, 3.0])
def test_a_day_of_training_is_planned_exactly(pause_w: float, slack: float) -> None:
    hours = round(24 * slack)
    job = problem(day(hours), 24, power_settings=POWER_SETTINGS, pause=Idle(pause_w, 10, 0.003))
    plan = solve(job)
    _check(job, plan)
    exact = least_cost(job)
    assert exact is not None
    assert plan.emissions_gco2e <= exact * 1.001
    assert plan.gap is not None
    assert plan.gap < 0.01


def test_a_week_of_five_minute_slots_is_near_its_bound() -> None:
    values = np.interp(np.arange(2016) / 12, np.arange(169), day(169))
    speeds = np.linspace(1, 0.4, 12)
    power_settings = tuple(PowerSetting(150 + 800 * s**2, s) for s in speeds.tolist())
    job = problem(
        list(values), 60, power_settings=power_settings,
        pause=Idle(190, 10, 0.003), release=Idle(0, 300, 0.05),
        intensity=series(list(values), hours=1 / 12), deadline_ns=168 * NS_PER_H,
    )  # fmt: skip
    plan = solve(job)
    _check(job, plan)
    assert plan.gap is not None
    assert plan.gap < 0.001


def test_idle_power_that_costs_more_than_it_saves_keeps_the_job_running() -> None:
    job = problem([100, 130, 100, 300, 300], 3, pause=Idle(900.0))
    assert solve(job).resumes == 0
    free = problem([100, 130, 100, 90, 300], 3)
    assert solve(free).resumes == 1


def test_a_long_break_is_released_and_a_short_one_is_held() -> None:
    ways = {"pause": Idle(100.0, 0.0, 0.0), "release": Idle(0.0, 0.0, 2.0)}
    short = solve(problem([100, 900, 100], 2, **ways))
    long = solve(problem([100, *[900] * 6, 100], 2, **ways))
    assert [slot.mode for slot in short.slots] == [Mode.RUN, Mode.PAUSE, Mode.RUN]
    assert Mode.RELEASE in {slot.mode for slot in long.slots}
    assert Mode.PAUSE not in {slot.mode for slot in long.slots}


def test_a_restart_costs_its_time_and_its_energy_where_it_happens() -> None:
    plan = solve(problem([100, 900, 50], 1.9, pause=Idle(0.0, 360.0, 0.2)))
    (restart,) = [slot for slot in plan.slots if slot.mode is Mode.RESTART]
    assert restart.end_ns - restart.start_ns == 360 * 10**9
    assert restart.energy_kwh == pytest.approx(0.2)
    assert restart.emissions_gco2e == pytest.approx(0.2 * 50)
    assert restart.work_hours == 0


def test_a_restart_of_several_slots_is_spread_over_them() -> None:
    job = problem([100, 900, 900, 60, 50, 50], 3, pause=Idle(0.0, 5400.0, 0.3))
    plan = solve(dataclasses.replace(job, state="paused"))
    _check(job, plan)
    restarts = [slot for slot in plan.slots if slot.mode is Mode.RESTART]
    assert sum(slot.energy_kwh for slot in restarts) == pytest.approx(0.3)
    assert sum(slot.end_ns - slot.start_ns for slot in restarts) == 5400 * 10**9


def test_settings_mix_within_a_slot() -> None:
    job = problem([100], 0.75, power_settings=(PowerSetting(1000, 1.0), PowerSetting(300, 0.5)))
    plan = solve(job)
    assert [slot.power_w for slot in plan.slots] == [1000, 300]
    assert plan.energy_kwh == pytest.approx(0.65)


def test_windows_and_caps_are_kept() -> None:
    hour = NS_PER_H
    job = problem(
        [100] * 8, 4, not_before_ns=hour,
        power_settings=(PowerSetting(1000, 1.0), PowerSetting(500, 0.6)),
        blackouts=((2 * hour, 3 * hour),), caps=(PowerCap(4 * hour, 8 * hour, 600.0),),
    )  # fmt: skip
    plan = solve(job)
    _check(job, plan)
    for slot in plan.slots:
        if slot.mode is Mode.RUN:
            assert slot.start_ns >= hour
            assert not 2 * hour <= slot.start_ns < 3 * hour
            assert slot.start_ns < 4 * hour or slot.power_w <= 600


@pytest.mark.slow
@settings(max_examples=40, derandomize=True)
@given(job=problems(longest=12))
def test_a_budget_is_never_exceeded(job: PlanProblem) -> None:
    try:
        free = solve(job)
    except InfeasibleError:
        return
    for share in (0.7, 0.9, 0.97):
        limited = dataclasses.replace(job, budgets=Budgets(energy_kwh=share * free.energy_kwh))
        try:
            plan = solve(limited)
        except InfeasibleError:
            continue
        _check(limited, plan)
        assert plan.energy_kwh <= share * free.energy_kwh * (1 + 1e-9)
        assert plan.objective >= free.objective * (1 - GOAL) - 1e-6


def test_a_budget_of_carbon_is_kept_where_cost_is_to_be_least() -> None:
    given = problem(
        [400, 100, 400, 100], 2, price=series([0.1, 0.3, 0.1, 0.3]), objective=Objective(0.0, 1.0)
    )
    assert solve(given).emissions_gco2e == pytest.approx(800)
    plan = solve(dataclasses.replace(given, budgets=Budgets(emissions_gco2e=600)))
    assert plan.emissions_gco2e <= 600
    assert plan.cost < 0.6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"work_hours": 4.5}, "1970-01-01T04:30:00Z would do"),
        ({"work_hours": 4, "blackouts": ((0, NS_PER_H),)}, "black-outs"),
        ({"budgets": Budgets(energy_kwh=1.5)}, "uses 2 kWh"),
        ({"budgets": Budgets(emissions_gco2e=250)}, "emits 0.3 kgCO2e"),
    ],
)
def test_what_cannot_be_done_says_what_would(changes: dict[str, object], says: str) -> None:
    given = {"work_hours": 2, **changes}
    job = problem([100, 200, 300, 400], **given)  # type: ignore[arg-type]
    with pytest.raises(InfeasibleError, match=says):
        solve(job)
