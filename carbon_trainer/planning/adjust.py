"""Makes a path do about the required work, slot by slot at the ends of its runs.

Only slots at an end of a run change, so that no restart is added and none moves by more than the
slots that are taken or added.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.paths import lost_hours
from carbon_trainer.planning.timeline import DONE, QUEUE, RESTART, RUN, Floats, Timeline

Modes = NDArray[np.int8]


def trim(
    timeline: Timeline, weight: Floats, modes: Modes, initial_mode: int, speeds: Floats
) -> Modes:
    """Return a path without the dirtiest slots at the ends of its runs, until it does no more.

    Args:
        timeline: the slots.
        weight: what a kilowatt hour counts, a slot.
        modes: a path that does too much.
        initial_mode: code of what the job does before the first slot.
        speeds: how fast each slot would be run, shape (n,).
    """
    hours = timeline.hours - lost_hours(timeline, modes, initial_mode)
    work = np.where(modes == RUN, speeds * hours, 0.0)
    excess_hours = float(work.sum()) - timeline.problem.work_hours
    return modes if excess_hours <= 0 else _shrink(modes, initial_mode, -weight, work, excess_hours)


def extend(
    timeline: Timeline, weight: Floats, modes: Modes, initial_mode: int, speeds: Floats
) -> Modes:
    """Return a path with the cleanest slots beside its runs, until it does enough."""
    hours = timeline.hours - lost_hours(timeline, modes, initial_mode)
    work_done = float(np.where(modes == RUN, speeds * hours, 0.0).sum())
    work = np.where(timeline.fastest > 0, speeds * timeline.hours, -np.inf)
    missing_hours = timeline.problem.work_hours - work_done
    return modes if missing_hours <= 0 else _grow(modes, initial_mode, weight, work, missing_hours)


def _shrink(
    path: Modes, initial_mode: int, cost: Floats, work: Floats, excess_hours: float
) -> Modes:
    """Take slots off the ends of runs, those of least cost first, while there is excess."""
    modes = path.tolist()
    heap = [(float(cost[slot]), slot) for slot in _edges(path, initial_mode, inside=True)]
    heapq.heapify(heap)
    while heap and excess_hours > 0:
        _, slot = heapq.heappop(heap)
        replacement = _beside(modes, slot, initial_mode)
        # A slot may be on the heap twice, once from either side, and may have lost its end since.
        if modes[slot] != RUN or replacement is None:
            continue
        excess_hours -= float(work[slot])
        modes[slot] = replacement
        for neighbour in (slot - 1, slot + 1):
            if 0 <= neighbour < len(modes) and modes[neighbour] == RUN:
                heapq.heappush(heap, (float(cost[neighbour]), neighbour))
    return np.array(modes, np.int8)


def _grow(
    path: Modes, initial_mode: int, cost: Floats, work: Floats, missing_hours: float
) -> Modes:
    """Run slots beside runs, those of least cost first, while work is missing."""
    modes = path.tolist()
    heap = [(float(cost[slot]), slot) for slot in _edges(path, initial_mode, inside=False)]
    heapq.heapify(heap)
    while heap and missing_hours > 0:
        _, slot = heapq.heappop(heap)
        if not _may_run(modes, slot, initial_mode, work):
            continue
        missing_hours -= float(work[slot])
        modes[slot] = RUN
        for neighbour in (slot - 1, slot + 1):
            if 0 <= neighbour < len(modes) and _may_run(modes, neighbour, initial_mode, work):
                heapq.heappush(heap, (float(cost[neighbour]), neighbour))
    return np.array(modes, np.int8)


def _edges(path: Modes, initial_mode: int, *, inside: bool) -> list[int]:
    """Return the slots at the ends of runs, or those beside them."""
    runs = path == RUN
    after_run = np.concatenate([[initial_mode == RUN], runs[:-1]])
    before_run = np.concatenate([runs[1:], [False]])
    edges = runs & ~(after_run & before_run) if inside else ~runs & (after_run | before_run)
    return [int(slot) for slot in np.flatnonzero(edges)]


def _beside(modes: list[int], slot: int, initial_mode: int) -> int | None:
    """Return what a slot at the end of a run becomes if it is not run; None within a run."""
    after = modes[slot + 1] if slot + 1 < len(modes) else DONE
    previous = modes[slot - 1] if slot else initial_mode
    if previous == RESTART:
        # The restart would be for nothing; moving it is left to polish and the search.
        return None
    if after not in (RUN, RESTART):
        # A run between queueing and whatever follows it is the whole job: it cannot vanish.
        return None if previous == QUEUE else after
    return None if previous == RUN else previous


def _may_run(modes: list[int], slot: int, initial_mode: int, work: Floats) -> bool:
    """Whether a slot beside a run could be run too."""
    if modes[slot] in (RUN, RESTART) or not work[slot] > 0:
        return False
    previous = modes[slot - 1] if slot else initial_mode
    after = modes[slot + 1] if slot + 1 < len(modes) else DONE
    if previous == RUN:
        return True
    return after == RUN
