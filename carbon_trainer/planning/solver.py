"""The plan of least carbon or cost that keeps the deadline and the budgets, with a bound."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from carbon_trainer.planning.allocation import Allocation
from carbon_trainer.planning.assemble import assemble
from carbon_trainer.planning.dual import relax, repair
from carbon_trainer.planning.feasibility import check_budgets, check_time
from carbon_trainer.planning.paths import PathFinder
from carbon_trainer.planning.plan import InfeasibleError, Plan, PlanSlot
from carbon_trainer.planning.problem import PlanProblem
from carbon_trainer.planning.search import close_gap
from carbon_trainer.planning.timeline import MODE_OF_STATE, Floats, Timeline

GOAL = 5e-4
"""A plan this near its bound, relative, is not searched any further."""

BUDGET_ROUNDS = 24
"""Prices that are tried for one budget at most."""

BUDGET_CLOSE = 1e-4
"""A budget is used up where this little of it is left, relative."""


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
        problem: the job and its limits.

    Returns:
        A plan with a proved lower bound: no plan of the same slots has a lower objective.

    Raises:
        InfeasibleError: if the deadline or a budget cannot be kept; the message says what would do.
    """
    start_s = time.perf_counter()
    timeline = Timeline.of(problem)
    check_time(timeline)
    limits = _limits(problem)
    best = _plan_at_prices(timeline, np.zeros(3))
    bound = best.bound
    # Only a budget that binds costs more than one solve.
    if (best.usage > limits).any():
        check_budgets(problem, solve)
        best, bound = _keep_budgets(timeline, limits, best)
    objective = objective_of(problem, best.slots)
    return Plan(
        policy="optimal",
        slots=best.slots,
        power_settings=problem.power_settings,
        objective=objective,
        lower_bound=min(bound, objective),
        lower_bound_gco2e=_in_grams(problem, min(bound, objective)),
        solve_ms=1000 * (time.perf_counter() - start_s),
        notes=_notes(problem),
    )


def _plan_at_prices(timeline: Timeline, prices: Floats) -> _Priced:
    """Plan with prices on kilowatt hours, grams and money beside the objective."""
    weight = timeline.base_weight + prices @ np.stack(
        [np.ones(len(timeline)), timeline.intensity, timeline.price]
    )
    initial_mode = MODE_OF_STATE[timeline.problem.state]
    finder = PathFinder(timeline, weight, initial_mode)
    relaxed = relax(finder)
    allocation = None if relaxed is None else repair(finder, relaxed)
    bound = 0.0 if relaxed is None else relaxed.bound
    # Most problems are closed by the relaxation alone; the search is for the few that are not.
    if relaxed is not None and not _is_near(allocation, bound):
        allocation, bound = close_gap(finder, relaxed, allocation, GOAL)
    if allocation is None:
        raise InfeasibleError(
            "no plan does the work by the deadline with these settings, windows and restarts: give "
            "a later deadline, fewer black-out windows or a slower setting"
        )
    slots = assemble(timeline, allocation, initial_mode)
    usage = np.array([
        sum(slot.energy_kwh for slot in slots),
        sum(slot.emissions_gco2e for slot in slots),
        sum(slot.cost for slot in slots),
    ])  # fmt: skip
    return _Priced(slots, bound, usage)


def _is_near(allocation: Allocation | None, bound: float) -> bool:
    return allocation is not None and allocation.cost - bound <= GOAL * abs(bound) + 1e-12


def _keep_budgets(timeline: Timeline, limits: Floats, free: _Priced) -> tuple[_Priced, float]:
    """Raise the price of what is over its budget until nothing is; return plan and bound.

    A budget's price is its Lagrange multiplier. Where several are exceeded the worst comes first;
    keeping it may take another over its budget, so three rounds, one for each.
    """
    prices = np.zeros(3)
    best: _Priced | None = None
    bound = free.bound
    plan = free
    for _ in range(3):
        exceeded = np.flatnonzero(plan.usage > limits)
        if not len(exceeded):
            break
        worst = int(exceeded[np.argmax(plan.usage[exceeded] / limits[exceeded])])
        plan, prices, bound = _raise_price(timeline, limits, prices, worst, bound)
        if (plan.usage <= limits).all():
            best = plan
    if best is None:
        raise InfeasibleError(
            "no plan was found that keeps all budgets at once: raise one of them, or give a later "
            "deadline"
        )
    return best, bound


def _raise_price(
    timeline: Timeline, limits: Floats, prices: Floats, index: int, bound: float
) -> tuple[_Priced, Floats, float]:
    """Find the least price at which one budget is kept, by doubling and halving."""
    # The usage falls as its price rises, so doubling finds a price that is high enough, and halving
    # the interval the least one.
    low, high = 0.0, _unit_price(timeline, index)
    best: _Priced | None = None
    best_prices = prices.copy()
    best_prices[index] = high
    finite = np.isfinite(limits)
    for _ in range(BUDGET_ROUNDS):
        middle = high if best is None else (low + high) / 2
        trial_prices = prices.copy()
        trial_prices[index] += middle
        trial = _plan_at_prices(timeline, trial_prices)
        # Weak duality: what a price charges for the whole budget is no part of the objective.
        bound = max(bound, trial.bound - float(trial_prices[finite] @ limits[finite]))
        if trial.usage[index] <= limits[index]:
            best, best_prices, high = trial, trial_prices, middle
            if trial.usage[index] >= (1 - BUDGET_CLOSE) * limits[index]:
                break
        else:
            low = middle
            high = 2 * high if best is None else high
    return (trial if best is None else best), best_prices, bound


def _unit_price(timeline: Timeline, index: int) -> float:
    """Return a first price: what doubles the mean weight of a kilowatt hour."""
    unit = (np.ones(1), timeline.intensity, timeline.price)[index].mean()
    return max(float(timeline.base_weight.mean()), 1e-9) / max(float(unit), 1e-9)


def _limits(problem: PlanProblem) -> Floats:
    budgets = problem.budgets
    limits = (budgets.energy_kwh, budgets.emissions_gco2e, budgets.cost)
    return np.array([np.inf if limit is None else limit for limit in limits])


def objective_of(problem: PlanProblem, slots: tuple[PlanSlot, ...]) -> float:
    """Return the objective of a plan's slots."""
    objective = problem.objective
    return sum(
        objective.per_gco2e * slot.emissions_gco2e + objective.per_cost * slot.cost
        for slot in slots
    )


def _in_grams(problem: PlanProblem, bound: float) -> float | None:
    objective = problem.objective
    return None if objective.per_cost else bound / objective.per_gco2e


def _notes(problem: PlanProblem) -> tuple[str, ...]:
    notes = [*problem.intensity.info.notes]
    if dominated := problem.dominated_settings():
        settings = ", ".join(
            f"{setting.power_w:g} W (speed {setting.speed:g})" for setting in dominated
        )
        notes.append(f"not worth running at: {settings}; other settings or a mix of two use less")
    return tuple(notes)
