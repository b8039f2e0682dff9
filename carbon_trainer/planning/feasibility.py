"""Checks whether a problem can be solved at all, and what would make it possible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from carbon_trainer.grid.series import iso
from carbon_trainer.planning.plan import InfeasibleError, Plan
from carbon_trainer.planning.problem import NS_PER_H, Budgets, Objective, PlanProblem
from carbon_trainer.planning.timeline import Timeline

FULL = 1 - 1e-9


def check_time(timeline: Timeline) -> None:
    """Check that full speed from now on does the work by the deadline.

    Raises:
        InfeasibleError: if not; names the deadline and the latest start that would do.
    """
    problem = timeline.problem
    lost_h = _first_restart_h(problem)
    capacity_h = float(timeline.fastest @ timeline.hours)
    fastest = max((setting.speed for setting in problem.power_settings), default=1.0)
    if capacity_h - lost_h * fastest >= FULL * problem.work_hours:
        return
    missing_h = (problem.work_hours - capacity_h) / fastest + lost_h
    deadline = iso(problem.deadline_ns + round(missing_h * NS_PER_H))
    reason = ""
    if capacity_h < fastest * problem.hours * FULL:
        reason = " in the hours that black-outs, the earliest start and power caps leave"
    raise InfeasibleError(
        f"{problem.work_hours:g} hours of work do not fit between {iso(problem.now_ns)} and "
        f"{iso(problem.deadline_ns)}{reason}: at full speed {capacity_h:.4g} hours are done by "
        f"then. A deadline of {deadline} would do, or a start {_hours(missing_h)} earlier"
    )


def check_budgets(problem: PlanProblem, solve: Callable[[PlanProblem], Plan]) -> None:
    """Check that each budget alone can be kept.

    Args:
        problem: the problem.
        solve: finds the best plan of one without budgets.

    Raises:
        InfeasibleError: if one cannot; names the smallest that would do.
    """
    budgets = problem.budgets
    free = dataclasses.replace(problem, budgets=Budgets())
    if budgets.emissions_gco2e is not None:
        plan = solve(dataclasses.replace(free, objective=Objective()))
        kg, limit_kg = plan.emissions_gco2e / 1000, budgets.emissions_gco2e / 1000
        _check(kg, limit_kg, "emits", "kgCO2e", "emissions")
    if budgets.cost is not None:
        plan = solve(dataclasses.replace(free, objective=Objective(0.0, 1.0)))
        _check(plan.cost, budgets.cost, "costs", "", "cost")
    if budgets.energy_kwh is not None:
        minimum = dataclasses.replace(
            problem.intensity,
            intensity_gco2e_per_kwh=np.ones(len(problem.intensity)),
        )
        plan = solve(dataclasses.replace(free, objective=Objective(), intensity=minimum))
        _check(plan.energy_kwh, budgets.energy_kwh, "uses", "kWh", "energy")


def _check(minimum: float, limit: float, verb: str, unit: str, quantity: str) -> None:
    if minimum > limit:
        raise InfeasibleError(
            f"the {quantity} budget of {limit:g} {unit}".rstrip()
            + f" is too small: the plan with the lowest {quantity} that meets the deadline {verb} "
            + f"{minimum:.4g} {unit}".rstrip()
            + ". Raise the budget, or give a later deadline"
        )


def _first_restart_h(problem: PlanProblem) -> float:
    """Return the hours that a restart takes, where the job is idle now."""
    idle = {"paused": problem.pause, "released": problem.release}.get(problem.state)
    return 0.0 if idle is None else idle.restart_s / 3600


def _hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
