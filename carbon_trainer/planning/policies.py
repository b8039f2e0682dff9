"""Simpler policies to compare with: each takes a problem and returns a plan.

They choose as their authors describe, without regard to idle power and restarts where the authors
have none; the costs of what they choose include both.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.planning.allocation import Allocation
from carbon_trainer.planning.assemble import assemble
from carbon_trainer.planning.feasibility import check_time
from carbon_trainer.planning.paths import lost_hours, resumes
from carbon_trainer.planning.plan import InfeasibleError, Plan
from carbon_trainer.planning.problem import PlanProblem
from carbon_trainer.planning.solver import objective_of, solve
from carbon_trainer.planning.timeline import (
    DONE,
    MODE_OF_STATE,
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
    return _plan("run now", timeline, _allocate(timeline, everywhere, _fastest(timeline)))


def static_cap(problem: PlanProblem) -> Plan:
    """Run from now on at the setting of least energy per work that keeps the deadline.

    As a fixed power limit does (You et al. 2023, Zeus).
    """
    timeline = _timeline(problem)
    everywhere = np.ones(len(timeline), bool)
    for setting in np.argsort(timeline.power_kw / timeline.speed, kind="stable"):
        settings = np.full(len(timeline), setting)
        settings = np.where(timeline.allowed[:, setting], settings, _fastest(timeline))
        allocation = _allocate(timeline, everywhere, settings)
        if allocation is not None:
            return _plan("static cap", timeline, allocation)
    return run_now(problem)


def best_start(problem: PlanProblem) -> Plan:
    """Start at the time from which running without a break at full speed is best (as CATS does)."""
    timeline = _timeline(problem)
    return _plan("best start", timeline, _best_window(timeline, [_fastest(timeline)]))


def best_start_and_setting(problem: PlanProblem) -> Plan:
    """Start at the best time and run at the best one setting without a break."""
    timeline = _timeline(problem)
    fastest = _fastest(timeline)
    choices = [
        np.where(timeline.allowed[:, setting], setting, fastest)
        for setting in range(len(timeline.power_settings))
    ]
    return _plan("best start and level", timeline, _best_window(timeline, choices))


def wait_awhile(problem: PlanProblem) -> Plan:
    """Run at full speed in the cleanest slots, pause in between (Wiesner et al. 2021)."""
    timeline = _timeline(problem)
    order = np.argsort(timeline.base_weight, kind="stable")
    order = order[timeline.fastest[order] > 0]
    work = np.cumsum((timeline.fastest * timeline.hours)[order])
    least_count = int(np.searchsorted(work, DONE_ENOUGH * problem.work_hours)) + 1
    for count in range(min(least_count, len(order)), len(order) + 1):
        run_mask = np.zeros(len(timeline), bool)
        run_mask[order[:count]] = True
        allocation = _allocate(timeline, run_mask, _fastest(timeline))
        if allocation is not None:
            return _plan("wait awhile", timeline, allocation)
    return run_now(problem)


def carbon_scaler(problem: PlanProblem) -> Plan:
    """Add the steps of power that do most work for their carbon (Hanafy et al. 2023).

    Settings of one job stand in for its numbers of servers; what is added first in a slot is the
    slowest setting on the envelope, then the steps to faster ones.
    """
    timeline = _timeline(problem)
    step_kw = np.diff(np.concatenate([[0.0], timeline.power_kw]))
    step_speed = np.diff(np.concatenate([[0.0], timeline.speed]))
    price = np.multiply.outer(timeline.base_weight, step_kw / step_speed)
    # A step may be taken only after the slower ones of its slot.
    price = np.maximum.accumulate(np.where(timeline.allowed, price, np.inf), axis=1)
    step_work = np.multiply.outer(timeline.hours, step_speed)
    order = np.argsort(price, axis=None, kind="stable")
    order = order[np.isfinite(price.ravel()[order])]
    work = np.cumsum(step_work.ravel()[order])
    least_count = int(np.searchsorted(work, DONE_ENOUGH * problem.work_hours)) + 1
    settings = np.full(len(timeline), -1)
    for count, index in enumerate(order, start=1):
        slot, setting = divmod(int(index), len(timeline.power_settings))
        settings[slot] = max(settings[slot], setting)
        if count >= least_count:
            allocation = _allocate(timeline, settings >= 0, np.maximum(settings, 0))
            if allocation is not None:
                return _plan("carbon scaler", timeline, allocation)
    return run_now(problem)


def threshold(problem: PlanProblem) -> Plan:
    """Run while it is cleaner than the mean of what lies ahead, and when it must to be in time."""
    timeline = _timeline(problem)
    mean = float(np.average(timeline.base_weight, weights=timeline.hours))
    is_clean = timeline.base_weight <= mean
    capacity = timeline.fastest * timeline.hours
    capacity_left = np.concatenate([np.cumsum(capacity[::-1])[::-1], [0.0]])
    restart_h = max((idle.restart_s / 3600 for idle in problem.idles.values()), default=0.0)
    run_mask = is_clean.copy()
    work_done = 0.0
    for slot in range(len(timeline)):
        restarts_h = restart_h * (1 + _switches(run_mask[: slot + 1]))
        required_hours = problem.work_hours - work_done + restarts_h
        run_mask[slot] |= capacity_left[slot + 1] < required_hours
        work_done += capacity[slot] if run_mask[slot] else 0.0
    allocation = _allocate(timeline, run_mask, _fastest(timeline))
    return run_now(problem) if allocation is None else _plan("threshold", timeline, allocation)


POLICIES: dict[str, Policy] = {
    "run-now": run_now,
    "static-cap": static_cap,
    "best-start": best_start,
    "best-start-and-level": best_start_and_setting,
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
        names = ", ".join(POLICIES)
        raise InputError(
            f"there is no policy {name!r}.{did_you_mean(name, POLICIES)} Known are {names}"
        )
    return POLICIES[name]


def _timeline(problem: PlanProblem) -> Timeline:
    timeline = Timeline.of(problem)
    check_time(timeline)
    return timeline


def _fastest(timeline: Timeline) -> Ints:
    return np.asarray(np.where(timeline.allowed, timeline.speed, -1.0).argmax(axis=1), np.int64)


def _switches(run_mask: Mask) -> int:
    return int(np.count_nonzero(np.diff(run_mask.astype(np.int8)) == 1))


def _best_window(timeline: Timeline, choices: list[Ints]) -> Allocation | None:
    """Return the unbroken run of least cost over all starts and choices of settings."""
    best: Allocation | None = None
    for settings in choices:
        for start in np.flatnonzero(timeline.fastest > 0):
            run_mask = np.arange(len(timeline)) >= start
            allocation = _allocate(timeline, run_mask, settings)
            if allocation is None:
                # Later starts leave even less time.
                break
            if best is None or allocation.cost < best.cost:
                best = allocation
    return best


def _allocate(timeline: Timeline, run_mask: Mask, settings: Ints) -> Allocation | None:
    """Return an allocation that runs in some slots until the work is done; None if it is not.

    Args:
        timeline: the slots.
        run_mask: the slots to run in, if that is allowed.
        settings: index of the setting, a slot.
    """
    modes = _modes(timeline, run_mask & (timeline.fastest > 0))
    if modes is None:
        return None
    initial_mode = MODE_OF_STATE[timeline.problem.state]
    hours = np.where(modes == RUN, timeline.hours - lost_hours(timeline, modes, initial_mode), 0.0)
    work = np.cumsum(hours * timeline.speed[settings])
    work_hours = timeline.problem.work_hours
    if work[-1] < DONE_ENOUGH * work_hours:
        return None
    # The job ends within the slot in which the sum of its work reaches what is required.
    last = int(np.searchsorted(work, DONE_ENOUGH * work_hours))
    hours[last] -= max(0.0, float(work[last]) - work_hours) / timeline.speed[settings[last]]
    modes[last + 1 :] = DONE
    hours[last + 1 :] = 0.0
    setting_hours = np.zeros((len(timeline), len(timeline.power_settings)))
    setting_hours[np.arange(len(timeline)), settings] = hours
    cost = _cost(timeline, modes, setting_hours, initial_mode)
    return Allocation(modes, setting_hours, cost)


def _modes(timeline: Timeline, run_mask: Mask) -> NDArray[np.int8] | None:
    """Return modes for running in some slots; None where the job cannot restart in time."""
    initial_mode = MODE_OF_STATE[timeline.problem.state]
    idle = next(iter(timeline.restarts), None)
    is_started = np.maximum.accumulate(run_mask) | (initial_mode != QUEUE)
    if idle is None and (is_started & ~run_mask).any():
        # Nothing lets it idle, so it must run on from its start, as long as it may.
        run_mask = is_started & (timeline.fastest > 0)
        idle = DONE
    # A job that was queued or running idles in the cheapest way that it has; one that is idle stays
    # as it is.
    default = PAUSE if idle is None else idle
    idle_mode = default if initial_mode in (QUEUE, RUN) else initial_mode
    modes = np.where(run_mask, RUN, np.where(is_started, idle_mode, QUEUE)).astype(np.int8)
    for slot, code in resumes(modes, initial_mode):
        restart = timeline.restarts[code]
        if not restart.possible[slot]:
            return None
        until = int(restart.until[slot])
        modes[slot:until] = RESTART
        modes[until] = RUN
    return modes


def _cost(
    timeline: Timeline, modes: NDArray[np.int8], setting_hours: Floats, initial_mode: int
) -> float:
    weight = timeline.base_weight
    cost = float(weight @ (setting_hours @ timeline.power_kw))
    for code in (QUEUE, PAUSE, RELEASE):
        is_mode = modes == code
        if is_mode.any():
            cost += timeline.idle_kw(code) * float((weight * timeline.hours)[is_mode].sum())
    for slot, code in resumes(modes, initial_mode):
        cost += timeline.restarts[code].kwh * float(timeline.restart_weight(code, weight)[slot])
    return cost


def _plan(name: str, timeline: Timeline, allocation: Allocation | None) -> Plan:
    start_s = time.perf_counter()
    problem = timeline.problem
    if allocation is None:
        raise InfeasibleError(f"{name} does not do the work by the deadline; the optimum may")
    slots = assemble(timeline, allocation, MODE_OF_STATE[problem.state])
    return Plan(
        policy=name,
        slots=slots,
        power_settings=problem.power_settings,
        objective=objective_of(problem, slots),
        solve_ms=1000 * (time.perf_counter() - start_s),
    )
