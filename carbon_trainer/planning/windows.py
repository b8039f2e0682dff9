"""A better bound for short problems: by the slots in which the job starts and is done.

The relaxation may mix a plan that never starts with one that runs too long, so that idling in
between looks cheaper than it can be. Whoever knows the first and the last slot cannot mix those:
the bound is then the least over all pairs, each at its own best price on work.
"""

from __future__ import annotations

import numpy as np

from carbon_trainer.planning.paths import NEVER, PathFinder
from carbon_trainer.planning.timeline import PAUSE, QUEUE, RELEASE, RUN, Floats

LONGEST = 240
"""Slots of the longest problem for which this is worth its time."""

PROMISING = 40
"""Windows that are told."""

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
    prices = price_range(price)
    pairs = _pairs(finder, prices)
    wanted = finder.timeline.problem.work_hours
    bounds = pairs + (prices * wanted)[:, None, None]
    best = bounds.max(axis=0)
    order = np.argsort(best, axis=None, kind="stable")[:PROMISING]
    pairs_of = [divmod(int(flat), count) for flat in order]
    return float(best.min()), pairs_of


def price_range(price: float) -> Floats:
    """Return prices around the relaxation's that may bound a part of the problem better."""
    middle = max(price, 1e-9)
    return np.asarray(np.geomspace(middle / WIDEST, middle * WIDEST, PRICES))


def _pairs(finder: PathFinder, prices: Floats) -> Floats:
    """Return the least reduced cost by price, first slot and last slot, shape (prices, n, n)."""
    timeline = finder.timeline
    count = len(timeline)
    run = np.stack([finder.run_values(price) for price in prices])
    back = {code: np.stack([finder.come_back(code, row) for row in run])
            for code in timeline.restarts}  # fmt: skip
    shape = (len(prices), count)
    done = np.full((count + 1, *shape), NEVER)
    values = {PAUSE: np.full(shape, NEVER), RELEASE: np.full(shape, NEVER)}
    result = np.full((len(prices), count, count), NEVER)
    queued = np.concatenate([[0.0], np.cumsum([finder.idle_cost(QUEUE, t) for t in range(count)])])
    last = np.arange(count)
    for t in range(count - 1, -1, -1):
        # The slot in which the job ends may be left early, or hardly be begun.
        ends = np.where(last == t, np.minimum(run[:, t], 0.0)[:, None], NEVER)
        go = np.minimum(run[:, t][:, None] + done[t + 1], ends)
        first = np.minimum(run[:, t], finder.idle_cost(QUEUE, t))[:, None] + done[t + 1]
        result[:, t, :] = queued[t] + np.minimum(first, ends)
        idle = {code: finder.idle_cost(code, t) + values[code] for code in (PAUSE, RELEASE)}
        for code in timeline.restarts:
            until = int(timeline.restarts[code].until[t])
            after = np.where(last == until, np.minimum(back[code][:, t], 0.0)[:, None], NEVER)
            comes = np.minimum(back[code][:, t][:, None] + done[until + 1], after)
            values[code] = np.minimum(idle[code], comes)
        if PAUSE in timeline.restarts and RELEASE in timeline.restarts:
            values[PAUSE] = np.minimum(values[PAUSE], idle[RELEASE])
        done[t] = np.minimum(go, np.minimum(idle[PAUSE], idle[RELEASE]))
    if finder.before == QUEUE:
        return result
    start = done[0] if finder.before == RUN else values[finder.before]
    return np.asarray(start[:, None, :])
