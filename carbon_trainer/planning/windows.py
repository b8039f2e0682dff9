"""A better bound for short problems: by the slots in which the job starts and is done.

The relaxation may mix a plan that never starts with one that runs too long, so that idling in
between looks cheaper than it can be. With the first and the last slot fixed it cannot mix those:
the bound is then the least over all pairs, each at its own best price on work.
"""

from __future__ import annotations

import numpy as np

from carbon_trainer.planning.paths import NEVER, PathFinder
from carbon_trainer.planning.timeline import PAUSE, QUEUE, RELEASE, RUN, Floats

LONGEST = 240
"""Slots of the longest problem for which this is worth its time."""

PROMISING = 40
"""Windows that are returned."""

PRICES = 20
WIDEST = 3.0
"""Prices that are tried lie between the relaxation's and so many times less and more."""


def window_bound(finder: PathFinder, price: float) -> tuple[float, list[tuple[int, int]]]:
    """Return a lower bound on every plan's cost, and the windows where plans may be that good.

    Args:
        finder: the problem under one weighing.
        price: the price on work at which the relaxation is best.

    Returns:
        The bound, and pairs of a first and a last slot, most promising first.
    """
    count = len(finder.timeline)
    if count > LONGEST:
        return -NEVER, []
    # Each window bounds its own plans best at a price of its own; every price is a valid bound, so
    # the highest counts, and over all windows the lowest of these.
    prices = price_range(price)
    pairs = _pairs(finder, prices)
    work_hours = finder.timeline.problem.work_hours
    bounds = pairs + (prices * work_hours)[:, None, None]
    best = bounds.max(axis=0)
    order = np.argsort(best, axis=None, kind="stable")[:PROMISING]
    windows = [divmod(int(flat), count) for flat in order]
    return float(best.min()), windows


def price_range(price: float) -> Floats:
    """Return prices around the relaxation's that may bound a part of the problem better."""
    middle = max(price, 1e-9)
    return np.asarray(np.geomspace(middle / WIDEST, middle * WIDEST, PRICES))


def _pairs(finder: PathFinder, prices: Floats) -> Floats:
    """Return the least reduced cost by price, first slot and last slot, shape (prices, n, n)."""
    timeline = finder.timeline
    count = len(timeline)
    run = np.stack([finder.run_values(price) for price in prices])
    resume = {code: np.stack([finder.resume_values(code, row) for row in run])
            for code in timeline.restarts}  # fmt: skip
    # Backward over the slots, as in paths, but for all last slots and prices at once: an array's
    # column is the last slot, and a path is NEVER where it ends in another one.
    shape = (len(prices), count)
    running = np.full((count + 1, *shape), NEVER)
    values = {PAUSE: np.full(shape, NEVER), RELEASE: np.full(shape, NEVER)}
    result = np.full((len(prices), count, count), NEVER)
    queue_costs = [finder.idle_cost(QUEUE, t) for t in range(count)]
    queue_cost = np.concatenate([[0.0], np.cumsum(queue_costs)])
    last = np.arange(count)
    for t in range(count - 1, -1, -1):
        # The job may end early in its last slot, so that slot's cost may be left out: at most 0.
        last_cost = np.where(last == t, np.minimum(run[:, t], 0.0)[:, None], NEVER)
        run_to_go = np.minimum(run[:, t][:, None] + running[t + 1], last_cost)
        # The first slot may be shared with queueing, so it costs the cheaper of both.
        start_to_go = np.minimum(run[:, t], finder.idle_cost(QUEUE, t))[:, None] + running[t + 1]
        result[:, t, :] = queue_cost[t] + np.minimum(start_to_go, last_cost)
        idle = {code: finder.idle_cost(code, t) + values[code] for code in (PAUSE, RELEASE)}
        for code in timeline.restarts:
            until = int(timeline.restarts[code].until[t])
            end_cost = np.where(last == until, np.minimum(resume[code][:, t], 0.0)[:, None], NEVER)
            resume_to_go = np.minimum(resume[code][:, t][:, None] + running[until + 1], end_cost)
            values[code] = np.minimum(idle[code], resume_to_go)
        # A paused job may be released; a released one has no process left to pause.
        if PAUSE in timeline.restarts and RELEASE in timeline.restarts:
            values[PAUSE] = np.minimum(values[PAUSE], idle[RELEASE])
        running[t] = np.minimum(run_to_go, np.minimum(idle[PAUSE], idle[RELEASE]))
    if finder.initial_mode == QUEUE:
        return result
    # A job that has started has no first slot to choose.
    start = running[0] if finder.initial_mode == RUN else values[finder.initial_mode]
    return np.asarray(start[:, None, :])
