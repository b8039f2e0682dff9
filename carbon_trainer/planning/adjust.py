"""Makes a path do about the work that is wanted, slot by slot at the ends of its runs."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.paths import lost_hours
from carbon_trainer.planning.timeline import DONE, QUEUE, RESTART, RUN, Floats, Timeline

Modes = NDArray[np.int8]


def trimmed(timeline: Timeline, weight: Floats, modes: Modes, before: int, speeds: Floats) -> Modes:
    """Return a path without the dirtiest slots at the ends of its runs, until it does no more.

    Args:
        timeline: the slots.
        weight: what a kilowatt hour counts, a slot.
        modes: a path that does too much.
        before: code of what the job does before the first slot.
        speeds: how fast each slot would be run, shape (n,).
    """
    hours = timeline.hours - lost_hours(timeline, modes, before)
    work = np.where(modes == RUN, speeds * hours, 0.0)
    excess = float(work.sum()) - timeline.problem.work_hours
    return modes if excess <= 0 else _shrunk(modes, before, -weight, work, excess)


def extended(
    timeline: Timeline, weight: Floats, modes: Modes, before: int, speeds: Floats
) -> Modes:
    """Return a path with the cleanest slots beside its runs, until it does enough."""
    hours = timeline.hours - lost_hours(timeline, modes, before)
    now = float(np.where(modes == RUN, speeds * hours, 0.0).sum())
    work = np.where(timeline.fastest > 0, speeds * timeline.hours, -np.inf)
    missing = timeline.problem.work_hours - now
    return modes if missing <= 0 else _grown(modes, before, weight, work, missing)


def _shrunk(path: Modes, before: int, cost: Floats, work: Floats, excess: float) -> Modes:
    """Take slots off the ends of runs, those of least cost first, while there is excess."""
    modes = path.tolist()
    heap = [(float(cost[t]), t) for t in _edges(path, before, inside=True)]
    heapq.heapify(heap)
    while heap and excess > 0:
        _, t = heapq.heappop(heap)
        taken = _beside(modes, t, before)
        if modes[t] != RUN or taken is None:
            continue
        excess -= float(work[t])
        modes[t] = taken
        for near in (t - 1, t + 1):
            if 0 <= near < len(modes) and modes[near] == RUN:
                heapq.heappush(heap, (float(cost[near]), near))
    return np.array(modes, np.int8)


def _grown(path: Modes, before: int, cost: Floats, work: Floats, missing: float) -> Modes:
    """Run slots beside runs, those of least cost first, while work is missing."""
    modes = path.tolist()
    heap = [(float(cost[t]), t) for t in _edges(path, before, inside=False)]
    heapq.heapify(heap)
    while heap and missing > 0:
        _, t = heapq.heappop(heap)
        if not _may_run(modes, t, before, work):
            continue
        missing -= float(work[t])
        modes[t] = RUN
        for near in (t - 1, t + 1):
            if 0 <= near < len(modes) and _may_run(modes, near, before, work):
                heapq.heappush(heap, (float(cost[near]), near))
    return np.array(modes, np.int8)


def _edges(path: Modes, before: int, *, inside: bool) -> list[int]:
    """Return the slots at the ends of runs, or those beside them."""
    runs = path == RUN
    near = np.concatenate([[before == RUN], runs[:-1]]), np.concatenate([runs[1:], [False]])
    found = runs & ~(near[0] & near[1]) if inside else ~runs & (near[0] | near[1])
    return [int(t) for t in np.flatnonzero(found)]


def _beside(modes: list[int], t: int, before: int) -> int | None:
    """Return what a slot at the end of a run becomes if it is not run; None within a run."""
    after = modes[t + 1] if t + 1 < len(modes) else DONE
    previous = modes[t - 1] if t else before
    if previous == RESTART:
        return None
    if after not in (RUN, RESTART):
        # Queueing and being done do not go together with what lies on the other side.
        return None if previous == QUEUE else after
    return None if previous == RUN else previous


def _may_run(modes: list[int], t: int, before: int, work: Floats) -> bool:
    """Whether a slot beside a run could be run too."""
    if modes[t] in (RUN, RESTART) or not work[t] > 0:
        return False
    previous = modes[t - 1] if t else before
    after = modes[t + 1] if t + 1 < len(modes) else DONE
    if previous == RUN:
        return True
    return after == RUN
