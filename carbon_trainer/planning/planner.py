"""Replans as forecasts and progress come in, and keeps the deadline however wrong they were."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from carbon_trainer.grid.series import IntensitySeries
from carbon_trainer.planning.plan import InfeasibleError, Plan
from carbon_trainer.planning.policies import run_now
from carbon_trainer.planning.problem import NS_PER_H, Budgets, Mode, PlanProblem, State
from carbon_trainer.planning.solver import solve
from carbon_trainer.planning.timeline import Timeline

LEAST_WORK_HOURS = 1e-6
DRIFT = 0.02
"""Fraction of the work left by which progress may differ from the plan before a new one is made."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the job is.

    Attributes:
        work_left_hours: hours at speed 1 that are expected to be left.
        max_left_hours: the most that may be left; None for what is expected.
        state: what the job does now.
    """

    work_left_hours: float
    max_left_hours: float | None = None
    state: State = "queued"

    @property
    def safe_hours(self) -> float:
        """The work that the deadline is kept for."""
        return max(self.work_left_hours, self.max_left_hours or 0.0, LEAST_WORK_HOURS)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do until the next update.

    Attributes:
        plan: the plan from now on.
        deadline_override: whether the guard overrode the best plan, so that the deadline is kept.
        replanned: whether the plan is new.
    """

    plan: Plan
    deadline_override: bool
    replanned: bool


class Planner:
    """Decides for one job, update by update. Pure: time, progress and forecasts are given to it.

    Args:
        problem: the job; its now, work, state, budgets and intensity are those of the start.
        update_every_s: the longest time between two updates, seconds; the guard looks as far.
    """

    def __init__(self, problem: PlanProblem, *, update_every_s: float = 3600.0) -> None:
        self._problem = problem
        self._update_interval_ns = round(update_every_s * 1e9)
        self._plan: Plan | None = None
        self._planned_ns = 0
        self._planned_hours = 0.0
        self._forecast: IntensitySeries | None = None

    def update(
        self,
        now_ns: int,
        progress: Progress,
        forecast: IntensitySeries,
        budgets: Budgets | None = None,
    ) -> Decision:
        """Return what to do from now on.

        Args:
            now_ns: now.
            progress: how far the job is.
            forecast: intensity from now to the deadline.
            budgets: what is left of the budgets; the problem's by default.

        Raises:
            InfeasibleError: if a budget cannot be kept any more. A deadline that cannot be kept
                raises nothing: the job runs at full speed.
        """
        problem = dataclasses.replace(
            self._problem,
            now_ns=now_ns,
            deadline_ns=max(self._problem.deadline_ns, now_ns + 1),
            work_hours=max(progress.work_left_hours, LEAST_WORK_HOURS),
            intensity=forecast,
            state=progress.state,
            budgets=self._problem.budgets if budgets is None else budgets,
        )
        current = self._still_good(now_ns, progress, forecast)
        if current is None:
            try:
                plan = solve(problem)
            except InfeasibleError:
                if not self._is_too_late(problem):
                    raise
                return Decision(_full_speed(problem), deadline_override=True, replanned=True)
            self._plan, self._planned_ns, self._forecast = plan, now_ns, forecast
            self._planned_hours = problem.work_hours
        else:
            plan = current
        # A forecast or an estimate may be wrong. As long as full speed from the next update on
        # is enough for the most work that may be left, the deadline is not at risk.
        if self._is_safe(problem, plan, progress):
            return Decision(plan, deadline_override=False, replanned=current is None)
        # The next update must not go back to the plan that has just been overridden.
        self._plan = None
        return Decision(_full_speed(problem), deadline_override=True, replanned=True)

    def _still_good(
        self, now_ns: int, progress: Progress, forecast: IntensitySeries
    ) -> Plan | None:
        """Return the last plan if nothing that it was made from has changed."""
        # A new forecast is a new object, so identity tells; comparing arrays would cost more.
        plan = self._plan
        if plan is None or forecast is not self._forecast or now_ns >= plan.finish_ns:
            return None
        expected_hours = self._planned_hours - work_between(plan, self._planned_ns, now_ns)
        drift = abs(expected_hours - progress.work_left_hours)
        is_near = drift <= DRIFT * max(expected_hours, LEAST_WORK_HOURS)
        return plan if is_near and progress.state == _state_before(plan, now_ns) else None

    def _is_too_late(self, problem: PlanProblem) -> bool:
        timeline = Timeline.of(dataclasses.replace(problem, budgets=Budgets()))
        spare_h = _longest_restart_h(problem) * max(
            setting.speed for setting in problem.power_settings
        )
        return float(timeline.fastest @ timeline.hours) <= problem.work_hours + spare_h

    def _is_safe(self, problem: PlanProblem, plan: Plan, progress: Progress) -> bool:
        """Whether full speed after the next update would still do all that may be left."""
        next_ns = min(problem.now_ns + self._update_interval_ns, problem.deadline_ns)
        timeline = Timeline.of(problem)
        # Clipped edges make slots before the next update empty.
        edges = np.clip(timeline.edges_ns, next_ns, None)
        capacity = float(timeline.fastest @ (np.diff(edges) / NS_PER_H))
        fastest = max(setting.speed for setting in problem.power_settings)
        # The plan may leave the job idle at the next update, and a restart comes first then.
        capacity -= _longest_restart_h(problem) * fastest
        planned = work_between(plan, problem.now_ns, next_ns)
        return capacity + planned >= progress.safe_hours


def work_between(plan: Plan, start_ns: int, end_ns: int) -> float:
    """Return the work that a plan does in a span, hours at speed 1."""
    total = 0.0
    for slot in plan.slots:
        if slot.work_hours and slot.start_ns < end_ns and slot.end_ns > start_ns:
            inside = min(slot.end_ns, end_ns) - max(slot.start_ns, start_ns)
            total += slot.work_hours * inside / (slot.end_ns - slot.start_ns)
    return total


def _full_speed(problem: PlanProblem) -> Plan:
    """Run now, at full speed, for as long as it takes: past the deadline if it must be."""
    try:
        return dataclasses.replace(run_now(problem), policy="full speed, for the deadline")
    except InfeasibleError:
        timeline = Timeline.of(problem)
        capacity = float(timeline.fastest @ timeline.hours)
        capacity -= _longest_restart_h(problem) * max(
            setting.speed for setting in problem.power_settings
        )
        # The rounding of the capacity must not make it infeasible again.
        work_hours = max(capacity * (1 - 1e-6), LEAST_WORK_HOURS)
        feasible = dataclasses.replace(problem, work_hours=work_hours)
        return dataclasses.replace(run_now(feasible), policy="full speed, for the deadline")


def _longest_restart_h(problem: PlanProblem) -> float:
    return max((idle.restart_s / 3600 for idle in problem.idles.values()), default=0.0)


def _state_before(plan: Plan, now_ns: int) -> State:
    names: dict[Mode, State] = {
        Mode.QUEUE: "queued",
        Mode.RUN: "running",
        Mode.RESTART: "running",
        Mode.PAUSE: "paused",
        Mode.RELEASE: "released",
    }
    return names[plan.at(max(plan.slots[0].start_ns, now_ns - 1)).mode]
