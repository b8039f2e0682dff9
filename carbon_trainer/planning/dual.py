"""How good can a plan be? Work is paid for, at the price at which the best path does it all.

The least cost at any price on work bounds every plan from below (Lagrangian relaxation, Geoffrion
1974). The bound is concave and piecewise linear in the price; two paths, one that does too little
work and one that does too much, are driven together (Kelley 1960 in one dimension), and meet at
the best bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.adjust import extend, trim
from carbon_trainer.planning.allocation import Allocation, allocate
from carbon_trainer.planning.paths import LATE, Path, PathFinder, lost_hours
from carbon_trainer.planning.timeline import RESTART, RUN, Floats

ROUNDS = 60
"""Steps of the bound's search at most."""

CONVERGED = 1e-6
"""The bound is found where it lies this near the cutting planes' meeting, relative."""

MAX_PRICE = 1e15
"""A price on work at which every slot pays, however dirty."""

SPLICES = 1
"""Splices that are tried on each side of the work, for each order of the two paths."""

CLOSE_ENOUGH = 5e-5
"""A plan this near the bound, relative, is not improved."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The best bound, and the two paths that meet there.

    Attributes:
        bound: no plan costs less.
        price: the price on work at which it holds.
        below: a best path that does no more than the work.
        above: one that does no less; the same one where it does exactly the work.
    """

    bound: float
    price: float
    below: Path
    above: Path


def relax(finder: PathFinder) -> Relaxed | None:
    """Return the best lower bound; None where even full speed throughout does not do the work."""
    work_hours = finder.timeline.problem.work_hours
    price = _first_price(finder)
    below = above = None
    best, best_price = -np.inf, price
    for _ in range(ROUNDS):
        # Each path is a cutting plane of the bound, a line over the price: its cost is where the
        # line starts, and the work that it does too little or too much is how steep it is.
        path = finder.best(price)
        if path.bound > best:
            best, best_price = path.bound, price
        above = path if path.work_hours >= work_hours else above
        below = path if path.work_hours <= work_hours else below
        if below is None or above is None:
            if price > MAX_PRICE:
                return None
            # At a price of 0 nothing is run, so that is a path of too little work.
            price = 2 * price if above is None else 0.0
            continue
        if below is above:
            break
        # The next price is where the two lines meet: no price can have a higher bound.
        spread = above.work_hours - below.work_hours
        price = (above.cost - below.cost) / spread
        meeting = below.cost + price * (work_hours - below.work_hours)
        if meeting - best <= CONVERGED * abs(meeting):
            break
    if below is None or above is None:
        return None
    return Relaxed(best, best_price, below, above)


def _first_price(finder: PathFinder) -> float:
    """Return the price at which slots of enough work pay if switching cost nothing."""
    timeline = finder.timeline
    per_work = np.where(
        timeline.allowed,
        np.multiply.outer(finder.weight, timeline.power_kw / timeline.speed),
        np.inf,
    ).min(axis=1)
    order = np.argsort(per_work)
    work = np.cumsum((timeline.fastest * timeline.hours)[order])
    last = min(int(np.searchsorted(work, timeline.problem.work_hours)), len(order) - 1)
    price = float(per_work[order[last]])
    return max(price if np.isfinite(price) else 0.0, 1e-6)


def repair(finder: PathFinder, relaxed: Relaxed) -> Allocation | None:
    """Return the best plan that comes of the two paths and of their splices.

    Neither path does exactly the work, but a plan near the bound mostly lies near both.
    """
    best: Allocation | None = None
    tried: set[bytes] = set()
    for path in (relaxed.below.modes, relaxed.above.modes, *_splices(finder, relaxed)):
        for modes in _candidates(finder, path, _best_speeds(finder, relaxed)):
            if (key := modes.tobytes()) in tried:
                continue
            tried.add(key)
            plan = allocate(finder.timeline, finder.weight, modes, finder.initial_mode)
            if plan is not None and (best is None or plan.cost < best.cost):
                best = plan
                if best.cost - relaxed.bound <= CLOSE_ENOUGH * abs(relaxed.bound):
                    return best
    return best


def _best_speeds(finder: PathFinder, relaxed: Relaxed) -> Floats:
    """Return how fast each slot is best run at the price on work."""
    timeline = finder.timeline
    speeds = np.where(relaxed.above.settings == LATE, 0.0, timeline.speed[relaxed.above.settings])
    return np.where(timeline.fastest > 0, np.minimum(speeds, timeline.fastest), 0.0)


def _candidates(
    finder: PathFinder, modes: NDArray[np.int8], speeds: Floats
) -> Iterator[NDArray[np.int8]]:
    """Yield a path, and its neighbours that do the work at the best speeds, or can at all."""
    timeline = finder.timeline
    arguments = timeline, finder.weight, modes, finder.initial_mode
    slowest = np.where(timeline.allowed, timeline.speed, np.inf).min(axis=1)
    yield modes
    yield trim(*arguments, speeds)
    yield extend(*arguments, speeds)
    yield trim(*arguments, np.where(np.isfinite(slowest), slowest, 0.0))
    yield extend(*arguments, timeline.fastest)


def _splices(finder: PathFinder, relaxed: Relaxed) -> list[NDArray[np.int8]]:
    """Return paths that begin as one and end as the other and do about the work."""
    first, second = relaxed.below.modes, relaxed.above.modes
    meetings = np.flatnonzero(_may_switch(first, second)) + 1
    if not len(meetings):
        return []
    below_work = _cumulative_work(finder, relaxed.below)
    above_work = _cumulative_work(finder, relaxed.above)
    work_hours = finder.timeline.problem.work_hours
    splices = []
    for head, tail, head_work, tail_work in (
        (first, second, below_work, above_work),
        (second, first, above_work, below_work),
    ):
        totals = head_work[meetings] + tail_work[-1] - tail_work[meetings]
        nearest = np.argsort(np.abs(totals - work_hours), kind="stable")
        over = [i for i in nearest if totals[i] >= work_hours][:SPLICES]
        under = [i for i in nearest if totals[i] < work_hours][:SPLICES]
        slots = [meetings[i] for i in (*over, *under)]
        splices += [np.concatenate([head[:slot], tail[slot:]]) for slot in slots]
    return splices


def _may_switch(first: NDArray[np.int8], second: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return after which slots one path may go on as the other does: same mode, no restart."""
    is_same = first[:-1] == second[:-1]
    restarting = (first[:-1] == RESTART) | (second[:-1] == RESTART)
    return np.asarray(is_same & ~restarting, np.bool_)


def _cumulative_work(finder: PathFinder, path: Path) -> Floats:
    """Return the work done before each slot's start, and at the end, shape (n + 1,)."""
    timeline = finder.timeline
    hours = timeline.hours - lost_hours(timeline, path.modes, finder.initial_mode)
    is_working = (path.modes == RUN) & (path.settings != LATE)
    work = np.where(is_working, hours * timeline.speed[path.settings], 0.0)
    return np.concatenate([[0.0], np.cumsum(work)])
