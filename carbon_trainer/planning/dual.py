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

from carbon_trainer.planning.adjust import extended, trimmed
from carbon_trainer.planning.allocation import Schedule, fit
from carbon_trainer.planning.paths import LATE, Path, PathFinder, lost_hours
from carbon_trainer.planning.timeline import RESTART, RUN, Floats

ROUNDS = 60
CONVERGED = 1e-6
MOST = 1e15
"""A price on work that no slot is too dear for."""
SPLICES = 1
CLOSE = 5e-5
"""A plan this near the bound, relative, is not improved."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The best bound, and the two paths that meet there.

    Attributes:
        bound: no plan costs less.
        price: the price on work at which it holds.
        little: a best path that does no more than the work.
        much: one that does no less; the same one where it does exactly the work.
    """

    bound: float
    price: float
    little: Path
    much: Path


def relax(finder: PathFinder) -> Relaxed | None:
    """Return the best lower bound; None where even full speed throughout does not do the work."""
    wanted = finder.timeline.problem.work_hours
    price = _first_price(finder)
    low = high = None
    best, best_price = -np.inf, price
    for _ in range(ROUNDS):
        path = finder.best(price)
        if path.bound > best:
            best, best_price = path.bound, price
        high = path if path.work_hours >= wanted else high
        low = path if path.work_hours <= wanted else low
        if low is None or high is None:
            if price > MOST:
                return None
            price = 2 * price if high is None else 0.0
            continue
        if low is high:
            break
        spread = high.work_hours - low.work_hours
        price = (high.cost - low.cost) / spread
        meeting = low.cost + price * (wanted - low.work_hours)
        if meeting - best <= CONVERGED * abs(meeting):
            break
    if low is None or high is None:
        return None
    return Relaxed(best, best_price, low, high)


def _first_price(finder: PathFinder) -> float:
    """Return the price at which slots of enough work pay, were switching free."""
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


def repair(finder: PathFinder, relaxed: Relaxed) -> Schedule | None:
    """Return the best plan found from the two paths, spliced where they meet, and fitted."""
    best: Schedule | None = None
    seen: set[bytes] = set()
    for path in (relaxed.little.modes, relaxed.much.modes, *_splices(finder, relaxed)):
        for modes in _fitted(finder, path, _usual_speeds(finder, relaxed)):
            if (key := modes.tobytes()) in seen:
                continue
            seen.add(key)
            plan = fit(finder.timeline, finder.weight, modes, finder.before)
            if plan is not None and (best is None or plan.cost < best.cost):
                best = plan
                if best.cost - relaxed.bound <= CLOSE * abs(relaxed.bound):
                    return best
    return best


def _usual_speeds(finder: PathFinder, relaxed: Relaxed) -> Floats:
    """Return how fast each slot is best run at the price on work."""
    timeline = finder.timeline
    speeds = np.where(relaxed.much.levels == LATE, 0.0, timeline.speed[relaxed.much.levels])
    return np.where(timeline.fastest > 0, np.minimum(speeds, timeline.fastest), 0.0)


def _fitted(
    finder: PathFinder, modes: NDArray[np.int8], speeds: Floats
) -> Iterator[NDArray[np.int8]]:
    """Yield a path, and what is near it that does the work at usual speeds, or can at all."""
    timeline = finder.timeline
    given = timeline, finder.weight, modes, finder.before
    slowest = np.where(timeline.allowed, timeline.speed, np.inf).min(axis=1)
    yield modes
    yield trimmed(*given, speeds)
    yield extended(*given, speeds)
    yield trimmed(*given, np.where(np.isfinite(slowest), slowest, 0.0))
    yield extended(*given, timeline.fastest)


def _splices(finder: PathFinder, relaxed: Relaxed) -> list[NDArray[np.int8]]:
    """Return paths that begin as one and end as the other, of about the work that is wanted."""
    first, second = relaxed.little.modes, relaxed.much.modes
    meet = np.flatnonzero(_same_before(first, second)) + 1
    if not len(meet):
        return []
    little, much = (_work_until(finder, each) for each in (relaxed.little, relaxed.much))
    wanted = finder.timeline.problem.work_hours
    found = []
    for head, tail, done_head, done_tail in (
        (first, second, little, much),
        (second, first, much, little),
    ):
        totals = done_head[meet] + done_tail[-1] - done_tail[meet]
        nearest = np.argsort(np.abs(totals - wanted), kind="stable")
        over = [i for i in nearest if totals[i] >= wanted][:SPLICES]
        under = [i for i in nearest if totals[i] < wanted][:SPLICES]
        found += [np.concatenate([head[: meet[i]], tail[meet[i] :]]) for i in (*over, *under)]
    return found


def _same_before(first: NDArray[np.int8], second: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return after which slots one path may go on as the other does."""
    same = first[:-1] == second[:-1]
    restarting = (first[:-1] == RESTART) | (second[:-1] == RESTART)
    return np.asarray(same & ~restarting, np.bool_)


def _work_until(finder: PathFinder, path: Path) -> Floats:
    """Return the work done before each slot's start, and at the end, shape (n + 1,)."""
    timeline = finder.timeline
    hours = timeline.hours - lost_hours(timeline, path.modes, finder.before)
    worked = (path.modes == RUN) & (path.levels != LATE)
    done = np.where(worked, hours * timeline.speed[path.levels], 0.0)
    return np.concatenate([[0.0], np.cumsum(done)])
