"""Improves a plan by small moves: the ends of its runs, and how it idles in between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.allocation import Schedule, fit
from carbon_trainer.planning.paths import PathFinder
from carbon_trainer.planning.timeline import DONE, QUEUE, RESTART, RUN

Modes = NDArray[np.int8]

FITS_AT_MOST = 400
DIRTIEST = 3
"""Slots of a run around which a pause is tried."""

STRIDES = (1, 2, 4, 8)
"""Slots by which the ends of runs are moved."""


def polished(finder: PathFinder, best: Schedule) -> Schedule:
    """Return the best plan that moves lead to, each of which improves it.

    Args:
        finder: the problem under one weighing.
        best: a plan of it.
    """
    left = FITS_AT_MOST
    improved = True
    while improved and left > 0:
        improved = False
        for modes in _moves(finder, best.modes):
            left -= 1
            found = fit(finder.timeline, finder.weight, modes, finder.before)
            if found is not None and found.cost < best.cost * (1 - 1e-9):
                best, improved = found, True
                break
            if left <= 0:
                break
    return best


def _moves(finder: PathFinder, modes: Modes) -> Iterator[Modes]:
    """Yield what is one move away: runs longer, shorter, earlier, later, joined; idling changed."""
    if (modes == RESTART).any():
        return
    runs = _runs(modes)
    may_run = finder.timeline.fastest > 0
    for stride in STRIDES:
        for begin, end in runs:
            for earlier, later in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1), (1, 1)):
                moved = _moved(modes, begin, end, (begin - stride * earlier, end + stride * later),
                               finder.before)  # fmt: skip
                if moved is not None and may_run[moved == RUN].all():
                    yield moved
    yield from _joined(finder, modes, runs)
    yield from _split(finder, modes, runs)


def _joined(finder: PathFinder, modes: Modes, runs: list[tuple[int, int]]) -> Iterator[Modes]:
    """Yield modes with one pause run through, or idled through in another way."""
    may_run = finder.timeline.fastest > 0
    for (_, begin), (end, _) in pairwise(runs):
        for mode in (RUN, *finder.timeline.restarts):
            if mode != modes[begin] and (mode != RUN or may_run[begin:end].all()):
                changed = modes.copy()
                changed[begin:end] = mode
                yield changed


def _split(finder: PathFinder, modes: Modes, runs: list[tuple[int, int]]) -> Iterator[Modes]:
    """Yield modes with a pause where a run is dirtiest."""
    for begin, end in runs:
        inside = np.arange(begin + 1, end - 1)
        order = inside[np.argsort(-finder.weight[inside], kind="stable")]
        for slot in order[:DIRTIEST]:
            for stride in STRIDES:
                first, last = max(begin + 1, int(slot) - stride // 2), int(slot) + 1 + stride // 2
                for mode in finder.timeline.restarts:
                    changed = modes.copy()
                    changed[first : min(last, end - 1)] = mode
                    yield changed


def _runs(modes: Modes) -> list[tuple[int, int]]:
    """Return the spans (first, behind the last) of slots that are run on end."""
    edges = np.diff(np.concatenate([[0], (modes == RUN).astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a), int(b)) for a, b in zip(begins, ends, strict=True)]


def _moved(modes: Modes, begin: int, end: int, to: tuple[int, int], before: int) -> Modes | None:
    """Return modes with one run at another place; None where it cannot lie there."""
    first, last = to
    previous = int(modes[begin - 1]) if begin else before
    after = int(modes[end]) if end < len(modes) else DONE
    if not 0 <= first < last <= len(modes):
        return None
    if first > begin and previous == RUN:
        return None
    moved = modes.copy()
    moved[begin:first] = previous
    moved[last:end] = after
    moved[first:last] = RUN
    if moved[0] == QUEUE and before != QUEUE:
        return None
    return moved
