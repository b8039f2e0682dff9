from __future__ import annotations

from carbon_trainer.planning.planner import Planner, Progress
from carbon_trainer.planning.problem import NS_PER_H
from tests.planning.problems import POWER_SETTINGS, day, problem, series


def test_a_plan_is_kept_until_something_changes() -> None:
    job = problem(day(30), 12, power_settings=POWER_SETTINGS)
    planner = Planner(job)
    first = planner.update(0, Progress(12.0), job.intensity)
    repeated = planner.update(0, Progress(12.0), job.intensity)
    newer = planner.update(0, Progress(12.0), series(day(30)[::-1]))
    drifted = planner.update(0, Progress(11.0), job.intensity)
    assert (first.replanned, repeated.replanned) == (True, False)
    assert repeated.plan is first.plan
    assert newer.replanned
    assert drifted.replanned


def test_work_that_may_be_longer_is_begun_in_time() -> None:
    job = problem([500] * 10 + [50] * 10, 8)
    planner = Planner(job)
    sure = planner.update(0, Progress(8.0), job.intensity)
    unsure = planner.update(0, Progress(8.0, 19.5), job.intensity)
    assert sure.plan.slots[0].work_hours == 0
    assert unsure.deadline_override
    assert unsure.plan.slots[0].work_hours > 0


def test_a_deadline_that_cannot_be_kept_is_run_for_at_full_speed() -> None:
    job = problem(day(10), 5, power_settings=POWER_SETTINGS)
    late = Planner(job).update(8 * NS_PER_H, Progress(5.0, state="running"), job.intensity)
    assert late.deadline_override
    assert {slot.power_w for slot in late.plan.slots} == {950}
