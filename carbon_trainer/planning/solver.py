"""The schedule of least carbon or cost that keeps the deadline and the budgets, with a bound."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from carbon_trainer.planning.allocation import Schedule
from carbon_trainer.planning.assemble import assemble
from carbon_trainer.planning.dual import relax, repair
from carbon_trainer.planning.feasibility import check_budgets, check_time
from carbon_trainer.planning.paths import PathFinder
from carbon_trainer.planning.plan import InfeasibleError, Plan, PlanSlot
from carbon_trainer.planning.problem import PlanProblem
from carbon_trainer.planning.search import close_gap
from carbon_trainer.planning.timeline import BEFORE, Floats, Timeline

GOAL = 5e-4
"""A plan this near its bound, relative, is not searched any further."""

BUDGET_ROUNDS = 24
BUDGET_CLOSE = 1e-4


@dataclass(frozen=True, slots=True)
class _Priced:
    """A plan under prices on what budgets limit.

    Attributes:
        slots: the plan.
        bound: no plan's objective, prices included, is less.
        usage: kWh, g, money of it.
    """

    slots: tuple[PlanSlot, ...]
    bound: float
    usage: Floats


def solve(problem: PlanProblem) -> Plan:
    """Return the plan of least objective.

    Args:
        problem: what is to be planned.

    Returns:
        A plan with a proved lower bound: no schedule of the same slots has a lesser objective.

    Raises:
        InfeasibleError: if the deadline or a budget cannot be kept; says what would do.
    """
    began = time.perf_counter()
    timeline = Timeline.of(problem)
    check_time(timeline)
    limits = _limits(problem)
    chosen = _priced(timeline, np.zeros(3))
    bound = chosen.bound
    if (chosen.usage > limits).any():
        check_budgets(problem, solve)
        chosen, bound = _within(timeline, limits, chosen)
    objective = objective_of(problem, chosen.slots)
    return Plan(
        policy="optimal",
        slots=chosen.slots,
        levels=problem.levels,
        objective=objective,
        lower_bound=min(bound, objective),
        lower_bound_gco2e=_in_grams(problem, min(bound, objective)),
        solve_ms=1000 * (time.perf_counter() - began),
        notes=_notes(problem),
    )


def _priced(timeline: Timeline, prices: Floats) -> _Priced:
    """Plan with prices on kilowatt hours, grams and money beside the objective."""
    weight = timeline.base_weight + prices @ np.stack(
        [np.ones(len(timeline)), timeline.intensity, timeline.price]
    )
    before = BEFORE[timeline.problem.state]
    finder = PathFinder(timeline, weight, before)
    relaxed = relax(finder)
    schedule = None if relaxed is None else repair(finder, relaxed)
    bound = 0.0 if relaxed is None else relaxed.bound
    if relaxed is not None and not _is_near(schedule, bound):
        schedule, bound = close_gap(finder, relaxed, schedule, GOAL)
    if schedule is None:
        raise InfeasibleError(
            "no plan does the work by the deadline with these levels, windows and restarts: give "
            "a later deadline, fewer black-out windows or a slower level"
        )
    slots = assemble(timeline, schedule, before)
    usage = np.array([
        sum(slot.energy_kwh for slot in slots),
        sum(slot.emissions_gco2e for slot in slots),
        sum(slot.cost for slot in slots),
    ])  # fmt: skip
    return _Priced(slots, bound, usage)


def _is_near(schedule: Schedule | None, bound: float) -> bool:
    return schedule is not None and schedule.cost - bound <= GOAL * abs(bound) + 1e-12


def _within(timeline: Timeline, limits: Floats, free: _Priced) -> tuple[_Priced, float]:
    """Raise the price of what is over its budget until none is; return plan and bound."""
    prices = np.zeros(3)
    best: _Priced | None = None
    bound = free.bound
    current = free
    for _ in range(3):
        over = np.flatnonzero(current.usage > limits)
        if not len(over):
            break
        worst = int(over[np.argmax(current.usage[over] / limits[over])])
        current, prices, bound = _raise_price(timeline, limits, prices, worst, bound)
        if (current.usage <= limits).all():
            best = current
    if best is None:
        raise InfeasibleError(
            "no plan that was found keeps all budgets at once: raise one of them, or give a later "
            "deadline"
        )
    return best, bound


def _raise_price(
    timeline: Timeline, limits: Floats, prices: Floats, which: int, bound: float
) -> tuple[_Priced, Floats, float]:
    """Find the least price at which one budget is kept, by doubling and halving."""
    low, high = 0.0, _unit_price(timeline, which)
    kept: _Priced | None = None
    kept_price = high
    for _ in range(BUDGET_ROUNDS):
        trial = prices.copy()
        middle = high if kept is None else (low + high) / 2
        trial[which] = prices[which] + middle
        found = _priced(timeline, trial)
        finite = np.isfinite(limits)
        bound = max(bound, found.bound - float(trial[finite] @ limits[finite]))
        if found.usage[which] <= limits[which]:
            kept, kept_price, high = found, trial[which], middle
            if found.usage[which] >= (1 - BUDGET_CLOSE) * limits[which]:
                break
        else:
            low = middle
            high = 2 * high if kept is None else high
    final = prices.copy()
    final[which] = kept_price
    return (found if kept is None else kept), final, bound


def _unit_price(timeline: Timeline, which: int) -> float:
    """Return a first price: what doubles the mean weight of a kilowatt hour."""
    unit = (np.ones(1), timeline.intensity, timeline.price)[which].mean()
    return max(float(timeline.base_weight.mean()), 1e-9) / max(float(unit), 1e-9)


def _limits(problem: PlanProblem) -> Floats:
    budgets = problem.budgets
    given = (budgets.energy_kwh, budgets.emissions_gco2e, budgets.cost)
    return np.array([np.inf if limit is None else limit for limit in given])


def objective_of(problem: PlanProblem, slots: tuple[PlanSlot, ...]) -> float:
    """Return what is to be least, of a plan's slots."""
    goal = problem.objective
    return sum(goal.per_gco2e * slot.emissions_gco2e + goal.per_cost * slot.cost for slot in slots)


def _in_grams(problem: PlanProblem, bound: float) -> float | None:
    goal = problem.objective
    return None if goal.per_cost else bound / goal.per_gco2e


def _notes(problem: PlanProblem) -> tuple[str, ...]:
    notes = [*problem.intensity.info.notes]
    if dominated := problem.dominated():
        named = ", ".join(f"{level.power_w:g} W (speed {level.speed:g})" for level in dominated)
        notes.append(f"not worth running at: {named}; other levels or a mix of two use less")
    return tuple(notes)
