"""Improves a plan by small moves: the ends of its runs, and how it idles in between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.allocation import Allocation, allocate
from carbon_trainer.planning.paths import PathFinder
from carbon_trainer.planning.timeline import DONE, QUEUE, RESTART, RUN

Modes = NDArray[np.int8]

MAX_ALLOCATIONS = 400
"""Moves that are tried at most; each takes an allocation, so this bounds the time."""

DIRTIEST = 3
"""Slots of a run around which a pause is tried."""

STRIDES = (1, 2, 4, 8)
"""Slots by which the ends of runs are moved."""


def polish(finder: PathFinder, best: Allocation) -> Allocation:
    """Return the best plan that moves lead to, each of which improves it.

    Args:
        finder: the problem under one weighing.
        best: a plan of it.
    """
    trials_left = MAX_ALLOCATIONS
    improved = True
    while improved and trials_left > 0:
        improved = False
        for modes in _moves(finder, best.modes):
            trials_left -= 1
            trial = allocate(finder.timeline, finder.weight, modes, finder.initial_mode)
            if trial is not None and trial.cost < best.cost * (1 - 1e-9):
                # The first improvement is taken, and the search goes on from its neighbours.
                best, improved = trial, True
                break
            if trials_left <= 0:
                break
    return best


def _moves(finder: PathFinder, modes: Modes) -> Iterator[Modes]:
    """Yield what is one move away: runs longer, shorter, earlier, later, joined; idling changed."""
    if (modes == RESTART).any():
        # A restart over several slots would have to move along: such plans are left as they are.
        return
    runs = _runs(modes)
    may_run = finder.timeline.fastest > 0
    for stride in STRIDES:
        for begin, end in runs:
            for earlier, later in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1), (1, 1)):
                target = begin - stride * earlier, end + stride * later
                shifted = _shift_run(modes, begin, end, target, finder.initial_mode)
                if shifted is not None and may_run[shifted == RUN].all():
                    yield shifted
    yield from _joins(finder, modes, runs)
    yield from _splits(finder, modes, runs)


def _joins(finder: PathFinder, modes: Modes, runs: list[tuple[int, int]]) -> Iterator[Modes]:
    """Yield modes with one pause run through, or idled through in another way."""
    may_run = finder.timeline.fastest > 0
    for (_, begin), (end, _) in pairwise(runs):
        for mode in (RUN, *finder.timeline.restarts):
            if mode != modes[begin] and (mode != RUN or may_run[begin:end].all()):
                variant = modes.copy()
                variant[begin:end] = mode
                yield variant


def _splits(finder: PathFinder, modes: Modes, runs: list[tuple[int, int]]) -> Iterator[Modes]:
    """Yield modes with a pause where a run is dirtiest."""
    for begin, end in runs:
        inside = np.arange(begin + 1, end - 1)
        order = inside[np.argsort(-finder.weight[inside], kind="stable")]
        for slot in order[:DIRTIEST]:
            for stride in STRIDES:
                first, last = max(begin + 1, int(slot) - stride // 2), int(slot) + 1 + stride // 2
                for mode in finder.timeline.restarts:
                    variant = modes.copy()
                    variant[first : min(last, end - 1)] = mode
                    yield variant


def _runs(modes: Modes) -> list[tuple[int, int]]:
    """Return the spans (first, behind the last) of slots that are run on end."""
    edges = np.diff(np.concatenate([[0], (modes == RUN).astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def _shift_run(
    modes: Modes, begin: int, end: int, target: tuple[int, int], initial_mode: int
) -> Modes | None:
    """Return modes with one run at another place; None where it does not fit there."""
    first, last = target
    previous = int(modes[begin - 1]) if begin else initial_mode
    after = int(modes[end]) if end < len(modes) else DONE
    if not 0 <= first < last <= len(modes):
        return None
    if first > begin and previous == RUN:
        # The slots that it leaves would be run as part of what lies before.
        return None
    shifted = modes.copy()
    shifted[begin:first] = previous
    shifted[last:end] = after
    shifted[first:last] = RUN
    if shifted[0] == QUEUE and initial_mode != QUEUE:
        # A job that has started does not queue again.
        return None
    return shifted
