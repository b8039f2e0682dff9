"""Given what is done in each slot, the best settings: exact, by filling the cheapest work first.

For fixed modes the problem is a linear one with a single sum to meet, so the least cost is found
by taking increments of work in order of their price (Dantzig 1957 on the continuous knapsack).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.paths import lost_hours, resumes
from carbon_trainer.planning.problem import hull
from carbon_trainer.planning.timeline import DONE, PAUSE, QUEUE, RELEASE, RUN, Floats, Timeline

TOLERANCE = 1e-9

Segment = tuple[int | None, int, float, float]
"""A step up: setting below (None for idling), setting above, speed gained, kilowatts added."""

Base = tuple[float, float, int | None]
"""The least that a slot can be: kilowatts, speed, setting (None for idling)."""


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """What is done in each slot, and for how long at each setting.

    Attributes:
        modes: codes, shape (n,).
        setting_hours: hours at each of the timeline's settings, shape (n, settings).
        cost: what it costs in all, by the weight that it was made for.
    """

    modes: NDArray[np.int8]
    setting_hours: Floats
    cost: float


def neighbours(timeline: Timeline, modes: NDArray[np.int8], initial_mode: int) -> NDArray[np.int8]:
    """Return, for each slot, the mode with which it may be shared: not to run all of it.

    The mode of the slot after it or before it if the job does not run then, the one that draws
    less; RUN where it runs on both sides, so that the slot must be run throughout.
    """
    after = np.concatenate([modes[1:], [DONE]]).astype(np.int8)
    previous = np.concatenate([[initial_mode], modes[:-1]]).astype(np.int8)
    # A restart of several slots has begun: there is no idling left to prolong.
    previous = np.where(previous > RELEASE, np.int8(RUN), previous)
    idle_kw = np.full(DONE + 1, np.inf)
    idle_kw[[QUEUE, PAUSE, RELEASE, DONE]] = [
        timeline.idle_kw(code) for code in (QUEUE, PAUSE, RELEASE, DONE)
    ]
    cheaper = np.where(idle_kw[previous] < idle_kw[after], previous, after)
    is_idle_around = (after != RUN) & (previous != RUN)
    return np.where(is_idle_around, cheaper, np.where(after != RUN, after, previous)).astype(
        np.int8
    )


def allocate(
    timeline: Timeline, weight: Floats, modes: NDArray[np.int8], initial_mode: int
) -> Allocation | None:
    """Return the least cost of doing the work in given modes; None where that cannot be.

    Args:
        timeline: the slots.
        weight: what a kilowatt hour counts, a slot.
        modes: what is done in each slot, shape (n,).
        initial_mode: code of what the job does before the first slot.
    """
    runs = np.flatnonzero(modes == RUN)
    hours = timeline.hours[runs] - lost_hours(timeline, modes, initial_mode)[runs]
    shared = neighbours(timeline, modes, initial_mode)[runs]
    setting_hours = np.zeros((len(timeline), len(timeline.power_settings)))
    steps: list[_Steps] = []
    cost = _fixed_cost(timeline, weight, modes, initial_mode)
    work = 0.0
    for group, ((base_kw, base_speed, base_setting), segments) in _groups(timeline, runs, shared):
        h, w = hours[group], weight[runs[group]]
        cost += float((base_kw * h) @ w)
        work += float(base_speed * h.sum())
        if base_setting is not None:
            setting_hours[runs[group], base_setting] = h
        steps += [_Steps.of(segment, runs[group], h, w) for segment in segments]
    missing_hours = timeline.problem.work_hours - work
    tolerance = TOLERANCE * timeline.problem.work_hours
    if missing_hours < -tolerance or not len(runs):
        return None
    if not steps:
        return Allocation(modes, setting_hours, cost) if missing_hours <= tolerance else None
    added_cost = _fill(steps, missing_hours, tolerance, setting_hours)
    if added_cost is None:
        return None
    # Rounding may leave -1e-17 of an hour at a setting.
    return Allocation(modes, np.maximum(setting_hours, 0.0), cost + added_cost)


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """One step from a setting to a faster one, in many slots; arrays of one length.

    Attributes:
        slot: index of the slot.
        low: the setting below; -1 for not running.
        high: the setting above.
        hours: how long the slot can be run.
        work: the work that the whole step adds, hours at speed 1.
        price: what an hour of that work costs.
    """

    slot: NDArray[np.intp]
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    hours: Floats
    work: Floats
    price: Floats

    @classmethod
    def of(cls, segment: Segment, slots: NDArray[np.intp], hours: Floats, weight: Floats) -> _Steps:
        low, high, d_speed, d_kw = segment
        lows = np.full(len(slots), -1 if low is None else low, np.intp)
        highs = np.full(len(slots), high, np.intp)
        return cls(slots, lows, highs, hours, hours * d_speed, weight * (d_kw / d_speed))

    @classmethod
    def concatenate(cls, parts: list[_Steps]) -> _Steps:
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            )
        )


def _fill(
    parts: list[_Steps], missing_hours: float, tolerance: float, setting_hours: Floats
) -> float | None:
    """Take the cheapest steps until enough work is done; return their cost, None if too few."""
    steps = _Steps.concatenate(parts)
    # Steps of one slot rise in price, as its settings lie on a convex envelope, so cheapest first
    # never takes a step before the slower ones. Where power costs nothing prices tie, and the
    # setting decides.
    order = np.lexsort((steps.high, steps.price))
    work = steps.work[order]
    cumulative = np.cumsum(work)
    if missing_hours > cumulative[-1] + tolerance:
        return None
    added_work = np.clip(missing_hours - (cumulative - work), 0.0, work)
    hours = (
        np.divide(added_work, work, out=np.zeros_like(added_work), where=work > 0)
        * steps.hours[order]
    )
    slot, low = steps.slot[order], steps.low[order]
    np.add.at(setting_hours, (slot, steps.high[order]), hours)
    inner = low >= 0
    np.add.at(setting_hours, (slot[inner], low[inner]), -hours[inner])
    return float(added_work @ steps.price[order])


def _groups(
    timeline: Timeline, runs: NDArray[np.intp], shared: NDArray[np.int8]
) -> list[tuple[NDArray[np.intp], tuple[Base, list[Segment]]]]:
    """Return slots that offer the same choices, and those choices."""
    # Slots with the same allowed settings (a bit each) and the same neighbour have one envelope.
    masks = timeline.allowed[runs] @ (1 << np.arange(len(timeline.power_settings), dtype=np.int64))
    keys = masks * 8 + shared
    groups = []
    for key in np.unique(keys):
        group = np.flatnonzero(keys == key)
        allowed = np.flatnonzero(timeline.allowed[runs[group[0]]])
        groups.append((group, choices(timeline, allowed, int(shared[group[0]]))))
    return groups


def choices(
    timeline: Timeline, allowed: NDArray[np.intp], shared: int
) -> tuple[Base, list[Segment]]:
    """Return the least that a slot can be, and the steps of work that can be added to it."""
    index_of = {timeline.power_settings[index]: int(index) for index in allowed}
    corners = hull(list(index_of))
    power_kw = [setting.power_w / 1000 for setting in corners]
    speeds = [setting.speed for setting in corners]
    indices: list[int | None] = [index_of[setting] for setting in corners]
    if shared in (QUEUE, PAUSE, RELEASE, DONE):
        # Idling is a corner of speed 0: what lies below the line from it to the cheapest setting
        # leaves the envelope.
        idle_kw = timeline.idle_kw(shared)
        first = min(
            range(len(corners)), key=lambda i: ((power_kw[i] - idle_kw) / speeds[i], -speeds[i])
        )
        power_kw, speeds = [idle_kw, *power_kw[first:]], [0.0, *speeds[first:]]
        indices = [None, *indices[first:]]
    segments: list[Segment] = []
    for i in range(len(speeds) - 1):
        high = indices[i + 1]
        assert high is not None  # noqa: S101 - only the first corner can be idle
        segments.append(
            (indices[i], high, speeds[i + 1] - speeds[i], power_kw[i + 1] - power_kw[i])
        )
    return (power_kw[0], speeds[0], indices[0]), segments


def _fixed_cost(
    timeline: Timeline, weight: Floats, modes: NDArray[np.int8], initial_mode: int
) -> float:
    """Return what slots that are not run cost, and restarts."""
    cost = 0.0
    for code in (QUEUE, PAUSE, RELEASE):
        chosen = modes == code
        if chosen.any():
            cost += timeline.idle_kw(code) * float((weight * timeline.hours)[chosen].sum())
    for slot, code in resumes(modes, initial_mode):
        cost += timeline.restarts[code].kwh * float(timeline.restart_weight(code, weight)[slot])
    return cost
