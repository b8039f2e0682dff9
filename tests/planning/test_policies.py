from __future__ import annotations

import pytest
from hypothesis import given, settings

from carbon_trainer.errors import InputError
from carbon_trainer.planning.plan import InfeasibleError
from carbon_trainer.planning.policies import POLICIES, policy
from carbon_trainer.planning.problem import Idle, Mode, PlanProblem
from tests.planning.problems import POWER_SETTINGS, day, problem, problems


@pytest.mark.slow
@settings(max_examples=60, derandomize=True)
@given(problems())
def test_every_policy_does_the_work_in_time_and_none_beats_the_optimum(job: PlanProblem) -> None:
    try:
        best = policy("optimal")(job)
    except InfeasibleError:
        return
    for name, decide in POLICIES.items():
        try:
            plan = decide(job)
        except InfeasibleError:
            continue
        assert plan.work_hours == pytest.approx(job.work_hours, rel=1e-6), name
        assert plan.finish_ns <= job.deadline_ns, name
        assert plan.emissions_gco2e >= best.emissions_gco2e * 0.9999 - 1e-6, name


def test_run_now_starts_at_once_at_full_speed() -> None:
    plan = policy("run-now")(problem([300, 100, 100], 1.5, power_settings=POWER_SETTINGS))
    assert {slot.power_w for slot in plan.slots} == {950}
    assert plan.finish_ns == 1.5 * 3600e9


def test_best_start_waits_for_the_cleanest_window() -> None:
    plan = policy("best-start")(problem([300, 100, 100, 300], 2))
    assert [slot.mode for slot in plan.slots] == [Mode.QUEUE, Mode.RUN, Mode.RUN]


def test_wait_awhile_runs_in_the_cleanest_slots() -> None:
    plan = policy("wait-awhile")(problem([100, 300, 100, 300, 100], 3))
    assert plan.emissions_gco2e == pytest.approx(300)
    assert plan.resumes == 2


def test_a_static_cap_is_the_setting_of_least_energy_that_is_in_time() -> None:
    loose = policy("static-cap")(problem(day(48), 24, power_settings=POWER_SETTINGS))
    tight = policy("static-cap")(problem(day(25), 24, power_settings=POWER_SETTINGS))
    assert {slot.power_w for slot in loose.slots} == {650}
    assert {slot.power_w for slot in tight.slots} == {850}


def test_a_threshold_runs_in_time_for_the_deadline() -> None:
    plan = policy("threshold")(problem([500, 500, 500, 500, 10], 4, pause=Idle()))
    assert plan.finish_ns <= 5 * 3600e9


def test_a_mistyped_policy_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="Did you mean wait-awhile"):
        policy("wait-while")
