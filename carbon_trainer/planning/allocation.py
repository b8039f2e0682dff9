"""Given what is done in each slot, the best levels: exact, by filling the cheapest work first.

For fixed modes the problem is a linear one with a single sum to meet, so the least cost is found
by taking increments of work in order of their price (Dantzig 1957 on the continuous knapsack).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.paths import comebacks, lost_hours
from carbon_trainer.planning.problem import hull
from carbon_trainer.planning.timeline import DONE, PAUSE, QUEUE, RELEASE, RUN, Floats, Timeline

TOLERANCE = 1e-9


Segment = tuple[int | None, int, float, float]
Base = tuple[float, float, int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """What is done in each slot, and for how long at each level.

    Attributes:
        modes: codes, shape (n,).
        level_hours: hours at each of the timeline's levels, shape (n, levels).
        cost: what it costs in all, by the weight that it was fitted for.
    """

    modes: NDArray[np.int8]
    level_hours: Floats
    cost: float


def neighbours(timeline: Timeline, modes: NDArray[np.int8], before: int) -> NDArray[np.int8]:
    """Return, for each slot, the mode with which it may be shared: not to run all of it.

    What comes next or came before if the job does not run then, the one that draws less; RUN
    where it runs on both sides, so that the slot must be run throughout.
    """
    after = np.concatenate([modes[1:], [DONE]]).astype(np.int8)
    previous = np.concatenate([[before], modes[:-1]]).astype(np.int8)
    # A restart of several slots has begun: there is no idling left to prolong.
    previous = np.where(previous > RELEASE, np.int8(RUN), previous)
    drawn_kw = np.full(DONE + 1, np.inf)
    drawn_kw[[QUEUE, PAUSE, RELEASE, DONE]] = [
        timeline.idle_kw(code) for code in (QUEUE, PAUSE, RELEASE, DONE)
    ]
    cheaper = np.where(drawn_kw[previous] < drawn_kw[after], previous, after)
    both = (after != RUN) & (previous != RUN)
    return np.where(both, cheaper, np.where(after != RUN, after, previous)).astype(np.int8)


def fit(
    timeline: Timeline, weight: Floats, modes: NDArray[np.int8], before: int
) -> Schedule | None:
    """Return the least cost of doing the work in given modes; None where that cannot be.

    Args:
        timeline: the slots.
        weight: what a kilowatt hour counts, a slot.
        modes: what is done in each slot, shape (n,).
        before: code of what the job does before the first slot.
    """
    runs = np.flatnonzero(modes == RUN)
    hours = timeline.hours[runs] - lost_hours(timeline, modes, before)[runs]
    shared = neighbours(timeline, modes, before)[runs]
    level_hours = np.zeros((len(timeline), len(timeline.levels)))
    steps: list[_Steps] = []
    cost = _fixed_cost(timeline, weight, modes, before)
    work = 0.0
    for group, ((base_kw, base_speed, base_level), segments) in _groups(timeline, runs, shared):
        h, w = hours[group], weight[runs[group]]
        cost += float((base_kw * h) @ w)
        work += float(base_speed * h.sum())
        if base_level is not None:
            level_hours[runs[group], base_level] = h
        steps += [_Steps.of(segment, runs[group], h, w) for segment in segments]
    missing = timeline.problem.work_hours - work
    tolerance = TOLERANCE * timeline.problem.work_hours
    if missing < -tolerance or not len(runs):
        return None
    if not steps:
        return Schedule(modes, level_hours, cost) if missing <= tolerance else None
    spent = _fill(steps, missing, tolerance, level_hours)
    return None if spent is None else Schedule(modes, np.maximum(level_hours, 0.0), cost + spent)


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """One step from a level to a faster one, in many slots; arrays of one length.

    Attributes:
        slot: whose it is.
        low: the level that it leaves; -1 for not running.
        high: the level that it comes to.
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
    def joined(cls, parts: list[_Steps]) -> _Steps:
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            )
        )


def _fill(
    parts: list[_Steps], missing: float, tolerance: float, level_hours: Floats
) -> float | None:
    """Take the cheapest steps until enough work is done; return their cost, None if too few."""
    steps = _Steps.joined(parts)
    # Of one slot slower comes before faster also where power costs nothing.
    order = np.lexsort((steps.high, steps.price))
    work = steps.work[order]
    total = np.cumsum(work)
    if missing > total[-1] + tolerance:
        return None
    taken = np.clip(missing - (total - work), 0.0, work)
    hours = np.divide(taken, work, out=np.zeros_like(taken), where=work > 0) * steps.hours[order]
    slot, low = steps.slot[order], steps.low[order]
    np.add.at(level_hours, (slot, steps.high[order]), hours)
    inner = low >= 0
    np.add.at(level_hours, (slot[inner], low[inner]), -hours[inner])
    return float(taken @ steps.price[order])


def _groups(
    timeline: Timeline, runs: NDArray[np.intp], shared: NDArray[np.int8]
) -> list[tuple[NDArray[np.intp], tuple[Base, list[Segment]]]]:
    """Return slots that offer the same choices, and those choices."""
    masks = timeline.allowed[runs] @ (1 << np.arange(len(timeline.levels), dtype=np.int64))
    keys = masks * 8 + shared
    found = []
    for key in np.unique(keys):
        group = np.flatnonzero(keys == key)
        allowed = np.flatnonzero(timeline.allowed[runs[group[0]]])
        found.append((group, choices(timeline, allowed, int(shared[group[0]]))))
    return found


def choices(
    timeline: Timeline, allowed: NDArray[np.intp], shared: int
) -> tuple[Base, list[Segment]]:
    """Return the least that a slot can be, and the steps of work that can be added to it."""
    place = {timeline.levels[index]: int(index) for index in allowed}
    corners = hull(list(place))
    power_w = [level.power_w / 1000 for level in corners]
    speeds = [level.speed for level in corners]
    names: list[int | None] = [place[level] for level in corners]
    if shared in (QUEUE, PAUSE, RELEASE, DONE):
        idle_kw = timeline.idle_kw(shared)
        first = min(
            range(len(corners)), key=lambda i: ((power_w[i] - idle_kw) / speeds[i], -speeds[i])
        )
        power_w, speeds = [idle_kw, *power_w[first:]], [0.0, *speeds[first:]]
        names = [None, *names[first:]]
    segments: list[Segment] = []
    for i in range(len(speeds) - 1):
        high = names[i + 1]
        assert high is not None  # noqa: S101 - only the first corner can be idle
        segments.append((names[i], high, speeds[i + 1] - speeds[i], power_w[i + 1] - power_w[i]))
    return (power_w[0], speeds[0], names[0]), segments


def _fixed_cost(timeline: Timeline, weight: Floats, modes: NDArray[np.int8], before: int) -> float:
    """Return what slots that are not run cost, and coming back."""
    cost = 0.0
    for code in (QUEUE, PAUSE, RELEASE):
        chosen = modes == code
        if chosen.any():
            cost += timeline.idle_kw(code) * float((weight * timeline.hours)[chosen].sum())
    for slot, code in comebacks(modes, before):
        cost += timeline.restarts[code].kwh * float(timeline.restart_weight(code, weight)[slot])
    return cost
