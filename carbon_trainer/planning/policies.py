"""Simpler ways to decide, to compare with: each takes a problem and gives a plan.

They choose as their authors describe, not knowing of idle power and restarts where those do not;
what they choose is then priced with both.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.planning.allocation import Schedule
from carbon_trainer.planning.assemble import assemble
from carbon_trainer.planning.feasibility import check_time
from carbon_trainer.planning.paths import comebacks, lost_hours
from carbon_trainer.planning.plan import InfeasibleError, Plan
from carbon_trainer.planning.problem import PlanProblem
from carbon_trainer.planning.solver import objective_of, solve
from carbon_trainer.planning.timeline import (
    BEFORE,
    DONE,
    PAUSE,
    QUEUE,
    RELEASE,
    RESTART,
    RUN,
    Floats,
    Ints,
    Timeline,
)

Mask = NDArray[np.bool_]
Policy = Callable[[PlanProblem], Plan]
DONE_ENOUGH = 1 - 1e-9


def run_now(problem: PlanProblem) -> Plan:
    """Run at full speed from now on, whenever it is allowed."""
    timeline = _timeline(problem)
    everywhere = np.ones(len(timeline), bool)
    return _plan("run now", timeline, _schedule(timeline, everywhere, _fastest(timeline)))


def static_cap(problem: PlanProblem) -> Plan:
    """Run from now on at the level of least energy per work that keeps the deadline.

    As a fixed power limit does (You et al. 2023, Zeus).
    """
    timeline = _timeline(problem)
    everywhere = np.ones(len(timeline), bool)
    for level in np.argsort(timeline.power_kw / timeline.speed, kind="stable"):
        levels = np.full(len(timeline), level)
        levels = np.where(timeline.allowed[:, level], levels, _fastest(timeline))
        schedule = _schedule(timeline, everywhere, levels)
        if schedule is not None:
            return _plan("static cap", timeline, schedule)
    return run_now(problem)


def best_start(problem: PlanProblem) -> Plan:
    """Start at the time from which running without a break at full speed is best (as CATS does)."""
    timeline = _timeline(problem)
    return _plan("best start", timeline, _best_window(timeline, [_fastest(timeline)]))


def best_start_and_level(problem: PlanProblem) -> Plan:
    """Start at the best time and run at the best one level without a break."""
    timeline = _timeline(problem)
    fastest = _fastest(timeline)
    choices = [
        np.where(timeline.allowed[:, level], level, fastest)
        for level in range(len(timeline.levels))
    ]
    return _plan("best start and level", timeline, _best_window(timeline, choices))


def wait_awhile(problem: PlanProblem) -> Plan:
    """Run at full speed in the cleanest slots, pause in between (Wiesner et al. 2021)."""
    timeline = _timeline(problem)
    order = np.argsort(timeline.base_weight, kind="stable")
    order = order[timeline.fastest[order] > 0]
    work = np.cumsum((timeline.fastest * timeline.hours)[order])
    enough = int(np.searchsorted(work, DONE_ENOUGH * problem.work_hours)) + 1
    for count in range(min(enough, len(order)), len(order) + 1):
        chosen = np.zeros(len(timeline), bool)
        chosen[order[:count]] = True
        schedule = _schedule(timeline, chosen, _fastest(timeline))
        if schedule is not None:
            return _plan("wait awhile", timeline, schedule)
    return run_now(problem)


def carbon_scaler(problem: PlanProblem) -> Plan:
    """Add level by level, slot by slot, what does most work for its carbon (Hanafy et al. 2023).

    Levels of one job stand in for its numbers of servers; what is added first in a slot is the
    slowest level on the envelope, then the steps to faster ones.
    """
    timeline = _timeline(problem)
    step_kw = np.diff(np.concatenate([[0.0], timeline.power_kw]))
    step_speed = np.diff(np.concatenate([[0.0], timeline.speed]))
    price = np.multiply.outer(timeline.base_weight, step_kw / step_speed)
    # A step may be taken only after the slower ones of its slot.
    price = np.maximum.accumulate(np.where(timeline.allowed, price, np.inf), axis=1)
    amount = np.multiply.outer(timeline.hours, step_speed)
    order = np.argsort(price, axis=None, kind="stable")
    order = order[np.isfinite(price.ravel()[order])]
    work = np.cumsum(amount.ravel()[order])
    enough = int(np.searchsorted(work, DONE_ENOUGH * problem.work_hours)) + 1
    levels = np.full(len(timeline), -1)
    for place, flat in enumerate(order, start=1):
        slot, level = divmod(int(flat), len(timeline.levels))
        levels[slot] = max(levels[slot], level)
        if place >= enough:
            schedule = _schedule(timeline, levels >= 0, np.maximum(levels, 0))
            if schedule is not None:
                return _plan("carbon scaler", timeline, schedule)
    return run_now(problem)


def threshold(problem: PlanProblem) -> Plan:
    """Run while it is cleaner than the mean of what lies ahead, and when it must to be in time."""
    timeline = _timeline(problem)
    mean = float(np.average(timeline.base_weight, weights=timeline.hours))
    clean = timeline.base_weight <= mean
    capacity = timeline.fastest * timeline.hours
    left = np.concatenate([np.cumsum(capacity[::-1])[::-1], [0.0]])
    spare = max((each.restart_s / 3600 for each in problem.idles.values()), default=0.0)
    chosen = clean.copy()
    done = 0.0
    for slot in range(len(timeline)):
        needed = problem.work_hours - done + spare * (1 + _switches(chosen[: slot + 1]))
        chosen[slot] |= left[slot + 1] < needed
        done += capacity[slot] if chosen[slot] else 0.0
    schedule = _schedule(timeline, chosen, _fastest(timeline))
    return run_now(problem) if schedule is None else _plan("threshold", timeline, schedule)


POLICIES: dict[str, Policy] = {
    "run-now": run_now,
    "static-cap": static_cap,
    "best-start": best_start,
    "best-start-and-level": best_start_and_level,
    "wait-awhile": wait_awhile,
    "carbon-scaler": carbon_scaler,
    "threshold": threshold,
    "optimal": solve,
}


def policy(name: str) -> Policy:
    """Return a policy by its name.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in POLICIES:
        known = ", ".join(POLICIES)
        raise InputError(
            f"there is no policy {name!r}.{did_you_mean(name, POLICIES)} Known are {known}"
        )
    return POLICIES[name]


def _timeline(problem: PlanProblem) -> Timeline:
    timeline = Timeline.of(problem)
    check_time(timeline)
    return timeline


def _fastest(timeline: Timeline) -> Ints:
    return np.asarray(np.where(timeline.allowed, timeline.speed, -1.0).argmax(axis=1), np.int64)


def _switches(chosen: Mask) -> int:
    return int(np.count_nonzero(np.diff(chosen.astype(np.int8)) == 1))


def _best_window(timeline: Timeline, choices: list[Ints]) -> Schedule | None:
    """Return the unbroken run of least cost over all starts and choices of levels."""
    best: Schedule | None = None
    for levels in choices:
        for start in np.flatnonzero(timeline.fastest > 0):
            chosen = np.arange(len(timeline)) >= start
            schedule = _schedule(timeline, chosen, levels)
            if schedule is None:
                break
            if best is None or schedule.cost < best.cost:
                best = schedule
    return best


def _schedule(timeline: Timeline, chosen: Mask, levels: Ints) -> Schedule | None:
    """Return a schedule that runs in chosen slots until the work is done; None if it is not.

    Args:
        timeline: the slots.
        chosen: in which to run, if that is allowed.
        levels: at which of the timeline's levels, a slot.
    """
    modes = _modes(timeline, chosen & (timeline.fastest > 0))
    if modes is None:
        return None
    before = BEFORE[timeline.problem.state]
    hours = np.where(modes == RUN, timeline.hours - lost_hours(timeline, modes, before), 0.0)
    work = np.cumsum(hours * timeline.speed[levels])
    wanted = timeline.problem.work_hours
    if work[-1] < DONE_ENOUGH * wanted:
        return None
    last = int(np.searchsorted(work, DONE_ENOUGH * wanted))
    hours[last] -= max(0.0, float(work[last]) - wanted) / timeline.speed[levels[last]]
    modes[last + 1 :] = DONE
    hours[last + 1 :] = 0.0
    level_hours = np.zeros((len(timeline), len(timeline.levels)))
    level_hours[np.arange(len(timeline)), levels] = hours
    cost = _cost(timeline, modes, level_hours, before)
    return Schedule(modes, level_hours, cost)


def _modes(timeline: Timeline, chosen: Mask) -> NDArray[np.int8] | None:
    """Return modes for running in chosen slots; None where the job cannot come back in time."""
    before = BEFORE[timeline.problem.state]
    idle = next(iter(timeline.restarts), None)
    started = np.maximum.accumulate(chosen) | (before != QUEUE)
    if idle is None and (started & ~chosen).any():
        # Nothing lets it idle, so it must run on from its start, as long as it may.
        chosen = started & (timeline.fastest > 0)
        idle = DONE
    waiting = {QUEUE: PAUSE if idle is None else idle, RUN: PAUSE if idle is None else idle}
    modes = np.where(chosen, RUN, np.where(started, waiting.get(before, before), QUEUE))
    modes = modes.astype(np.int8)
    for slot, code in comebacks(modes, before):
        restart = timeline.restarts[code]
        if not restart.possible[slot]:
            return None
        until = int(restart.until[slot])
        modes[slot:until] = RESTART
        modes[until] = RUN
    return modes


def _cost(timeline: Timeline, modes: NDArray[np.int8], level_hours: Floats, before: int) -> float:
    weight = timeline.base_weight
    cost = float(weight @ (level_hours @ timeline.power_kw))
    for code in (QUEUE, PAUSE, RELEASE):
        chosen = modes == code
        if chosen.any():
            cost += timeline.idle_kw(code) * float((weight * timeline.hours)[chosen].sum())
    for slot, code in comebacks(modes, before):
        cost += timeline.restarts[code].kwh * float(timeline.restart_weight(code, weight)[slot])
    return cost


def _plan(name: str, timeline: Timeline, schedule: Schedule | None) -> Plan:
    began = time.perf_counter()
    problem = timeline.problem
    if schedule is None:
        raise InfeasibleError(f"{name} does not do the work by the deadline; the optimum may")
    slots = assemble(timeline, schedule, BEFORE[problem.state])
    return Plan(
        policy=name,
        slots=slots,
        levels=problem.levels,
        objective=objective_of(problem, slots),
        solve_ms=1000 * (time.perf_counter() - began),
    )
