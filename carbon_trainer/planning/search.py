"""Closes the gap between a plan and its bound by looking at all paths that could lie in between.

A resource-constrained shortest path (Handler and Zang 1980): labels go forward through the slots,
and what the relaxation says of the rest of each prunes those that cannot beat the best plan. In
an optimal plan at most one slot is shared between two levels, or between a level and not running,
so a label has at most one slot in which work may be given back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.allocation import Schedule, choices, fit
from carbon_trainer.planning.dual import Relaxed
from carbon_trainer.planning.paths import PathFinder
from carbon_trainer.planning.polish import polished
from carbon_trainer.planning.timeline import (
    DONE,
    PAUSE,
    QUEUE,
    RELEASE,
    RESTART,
    RUN,
    Floats,
    Ints,
)
from carbon_trainer.planning.windows import price_range, window_bound

LONGEST = 500
"""Slots of the longest problem that is searched: in longer ones runs can be fitted so finely that
little is left to be found."""

NEAR = 1e-3
"""A long plan this near its bound, relative, is good enough."""

EFFORT = 720_000
"""Labels times slots times levels of a search; what is dropped for want of room lowers the bound
that is proved."""

MOST_ROOM = 2_000
"""Labels kept in a slot of a search at most."""

SECOND = 5
"""A short problem is searched again with so many times the room, if the first was too little."""

SHORT = 400
"""Slots times levels of a short problem."""

STARTS = 3
"""Runs without a break that are tried beside the relaxation's plan."""

TO_PAUSE, TO_RELEASE = 6, 7
"""Modes of a label that has shared its slot with what it must do in the next."""

IDLES_NEXT = {PAUSE: TO_PAUSE, RELEASE: TO_RELEASE}
VALUED = {QUEUE: QUEUE, RUN: RUN, PAUSE: PAUSE, RELEASE: RELEASE,
          TO_PAUSE: PAUSE, TO_RELEASE: RELEASE}  # fmt: skip
NEXT_IDLE = {QUEUE: (QUEUE,), RUN: (PAUSE, RELEASE), PAUSE: (PAUSE, RELEASE), RELEASE: (RELEASE,),
             TO_PAUSE: (PAUSE,), TO_RELEASE: (RELEASE,)}  # fmt: skip
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Ways to have come so far; arrays of one length.

    Attributes:
        mode: what was done in the last slot.
        work: the most work done, hours.
        cost: what that costs.
        slack: how much less of it may be done in the slot that is shared, hours.
        saved: what an hour less of it saves.
        parent: which label of the slot before it came from.
        wake: the slot in which a restart that has begun is over.
        lost_h: hours of that slot which the restart takes.
    """

    mode: NDArray[np.int8]
    work: Floats
    cost: Floats
    slack: Floats
    saved: Floats
    parent: Ints
    wake: Ints
    lost_h: Floats

    @classmethod
    def first(cls, mode: int) -> Labels:
        """Return the one label before the first slot."""
        zero = np.zeros(1)
        whole = np.zeros(1, np.int64)
        return cls(np.array([mode], np.int8), zero, zero, zero, zero, whole, whole, zero)

    @classmethod
    def joined(cls, parts: list[Labels]) -> Labels:
        """Return several sets as one."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def chosen(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> Labels:
        """Return some of them."""
        return Labels(*(getattr(self, field.name)[keep] for field in fields(self)))

    def stepped(self, mode: int, **added: Floats | float) -> Labels:
        """Return them one slot on, as their own children.

        Args:
            mode: what is done in the slot.
            added: work and cost to add; slack, saved, wake and lost_h to set.
        """
        count = len(self.work)

        def value(name: str, old: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.broadcast_to(np.asarray(added.get(name, old)), (count,))

        return Labels(
            np.full(count, mode, np.int8),
            self.work + added.get("work", 0.0),
            self.cost + added.get("cost", 0.0),
            value("slack", self.slack),
            value("saved", self.saved),
            self.parent,
            value("wake", self.wake.astype(float)).astype(np.int64),
            value("lost_h", self.lost_h),
        )


def close_gap(
    finder: PathFinder, relaxed: Relaxed, best: Schedule | None, goal: float
) -> tuple[Schedule | None, float]:
    """Return a better plan if there is one, and the bound that is proved then.

    Args:
        finder: the problem under one weighing.
        relaxed: its relaxation.
        best: the best plan known.
        goal: the relative gap that is good enough.
    """
    if len(finder.timeline) > LONGEST:
        is_near = best is not None and best.cost - relaxed.bound <= NEAR * abs(relaxed.bound)
        return best if is_near or best is None else polished(finder, best), relaxed.bound
    least, windows = window_bound(finder, relaxed.price)
    bound = max(relaxed.bound, least)
    best = _best_polished(finder, best, windows)
    for room in _rooms(finder):
        if best is not None and best.cost - bound <= goal * abs(bound):
            break
        search = _Search(finder, relaxed, best, goal, room)
        search.run()
        modes = search.modes()
        found = None if modes is None else fit(finder.timeline, finder.weight, modes, finder.before)
        if found is not None and (best is None or found.cost < best.cost):
            best = polished(finder, found)
        bound = max(bound, search.proved())
        if best is not None and best.cost - bound <= NEAR * abs(bound):
            break
    return best, bound


def _rooms(finder: PathFinder) -> list[int]:
    """Return how many labels to keep in a slot, search by search."""
    size = len(finder.timeline) * len(finder.timeline.levels)
    room = min(MOST_ROOM, EFFORT // size)
    return [room, SECOND * room] if size <= SHORT else [room]


def _best_polished(
    finder: PathFinder, best: Schedule | None, windows: list[tuple[int, int]]
) -> Schedule | None:
    """Return the best of what a plan, and running without a break in some windows, lead to."""
    count = len(finder.timeline)
    unbroken = []
    for first, last in windows if finder.before == QUEUE else []:
        modes = np.full(count, DONE, np.int8)
        modes[:first], modes[first : last + 1] = QUEUE, RUN
        if (finder.timeline.fastest[modes == RUN] > 0).all():
            found = fit(finder.timeline, finder.weight, modes, finder.before)
            unbroken += [found] if found is not None else []
    unbroken.sort(key=lambda plan: plan.cost)
    starts = [*([best] if best is not None else []), *unbroken[:STARTS]]
    ends = [polished(finder, start) for start in starts]
    return min(ends, key=lambda plan: plan.cost, default=None)


class _Search:
    def __init__(
        self,
        finder: PathFinder,
        relaxed: Relaxed,
        best: Schedule | None,
        goal: float,
        room: int,
    ) -> None:
        self.finder = finder
        self.room = room
        self.timeline = finder.timeline
        # What is left to do differs from label to label, and with it the price that bounds it best.
        self.prices = np.append(price_range(relaxed.price), relaxed.price)
        found = [finder.values(price) for price in self.prices]
        self.values = {code: np.stack([each[0][code] for each in found]) for code in found[0][0]}
        self.run_value = np.stack([each[1] for each in found])
        self.wanted = self.timeline.problem.work_hours
        self.goal = goal
        self.upper = np.inf if best is None else best.cost
        self.dropped = np.inf
        self.history: list[Labels] = []
        self.ended: tuple[int, Labels] | None = None
        capacity = self.timeline.fastest * self.timeline.hours
        self.left = np.concatenate([np.cumsum(capacity[::-1])[::-1], [0.0]])
        self.tolerance = ROUNDING * self.wanted

    @property
    def threshold(self) -> float:
        """What a plan must be able to beat to be looked for."""
        return self.upper - self.goal * abs(self.upper) / 2 if np.isfinite(self.upper) else np.inf

    def proved(self) -> float:
        """Return the bound that holds after the search."""
        return min(self.threshold, self.dropped, self.upper)

    def run(self) -> None:
        """Go through all slots."""
        labels = Labels.first(self.finder.before)
        for slot in range(len(self.timeline)):
            labels = self._numbered(labels)
            children = Labels.joined([Labels.first(DONE).chosen(np.zeros(1, bool)),
                                      *self._children(slot, labels)])  # fmt: skip
            self._end(slot, children)
            labels = self._kept(slot, children.chosen(children.mode != DONE))
            self.history.append(labels)
            if not len(labels.work):
                return

    def modes(self) -> NDArray[np.int8] | None:
        """Return the modes of the best path that was found; None where none was."""
        if self.ended is None:
            return None
        last, label = self.ended
        modes = np.full(len(self.timeline), DONE, np.int8)
        modes[last] = RUN
        at = int(label.parent[0])
        for slot in range(last - 1, -1, -1):
            mode = int(self.history[slot].mode[at])
            modes[slot] = RUN if mode in (TO_PAUSE, TO_RELEASE) else mode
            at = int(self.history[slot].parent[at])
        return modes

    def _numbered(self, labels: Labels) -> Labels:
        """Make labels the parents of what comes of them."""
        numbers = np.arange(len(labels.work))
        values = (getattr(labels, field.name) for field in fields(labels))
        mode, work, cost, slack, saved, _, wake, lost_h = values
        return Labels(mode, work, cost, slack, saved, numbers, wake, lost_h)

    def _children(self, slot: int, labels: Labels) -> list[Labels]:
        found: list[Labels] = []
        hours = float(self.timeline.hours[slot])
        for mode in NEXT_IDLE:
            group = labels.chosen(labels.mode == mode)
            if not len(group.work):
                continue
            for code in NEXT_IDLE[mode]:
                cost = self.finder.idle_cost(code, slot)
                if np.isfinite(cost):
                    found.append(group.stepped(code, cost=cost))
            if mode in (QUEUE, RUN):
                found += self._running(slot, group, hours, mode)
            elif mode in (PAUSE, RELEASE):
                found += self._coming_back(slot, group, mode)
        return found + self._restarting(slot, labels.chosen(labels.mode == RESTART))

    def _coming_back(self, slot: int, group: Labels, mode: int) -> list[Labels]:
        cost = self.finder.restart_cost(mode, slot)
        if not np.isfinite(cost):
            return []
        restart = self.timeline.restarts[mode]
        until, lost_h = int(restart.until[slot]), float(restart.lost_h[slot])
        if until > slot:
            return [group.stepped(RESTART, cost=cost, wake=float(until), lost_h=lost_h)]
        hours = float(self.timeline.hours[slot]) - lost_h
        found = self._running(slot, group.stepped(mode, cost=cost), hours, mode)
        if lost_h:
            found.append(group.stepped(RUN, cost=cost + self.finder.late_cost(mode, slot)))
        return found

    def _restarting(self, slot: int, group: Labels) -> list[Labels]:
        found = []
        for wake, lost_h in {*zip(group.wake.tolist(), group.lost_h.tolist(), strict=True)}:
            some = group.chosen((group.wake == wake) & (group.lost_h == lost_h))
            if wake > slot:
                found.append(some)
            else:
                hours = float(self.timeline.hours[slot]) - lost_h
                found += self._running(slot, some, hours, RUN)
        return found

    def _running(self, slot: int, group: Labels, hours: float, before: int) -> list[Labels]:
        """Return the labels that run in a slot: at one level, or sharing it if none was shared."""
        timeline = self.timeline
        allowed = np.flatnonzero(timeline.allowed[slot])
        if not len(allowed):
            return []
        weight = float(self.finder.weight[slot])
        found = [
            group.stepped(
                RUN,
                work=timeline.speed[i] * hours,
                cost=timeline.power_kw[i] * hours * weight,
            )
            for i in allowed
        ]
        whole = group.chosen(group.slack == 0)
        if not len(whole.work):
            return found
        ends = {(RUN, RUN), (DONE, DONE), (before, RUN), *IDLES_NEXT.items()}
        ends |= {(before, after) for after in IDLES_NEXT.values() if before != RUN}
        for shared, after in sorted(ends):
            if shared in IDLES_NEXT and not np.isfinite(timeline.idle_kw(shared)):
                continue
            (_, _, _), segments = choices(timeline, allowed, shared)
            for low, high, d_speed, d_kw in segments:
                if (low is None) == (shared == RUN):
                    continue
                found.append(
                    whole.stepped(
                        after,
                        work=timeline.speed[high] * hours,
                        cost=timeline.power_kw[high] * hours * weight,
                        slack=d_speed * hours,
                        saved=d_kw / d_speed * weight,
                    )
                )
        return found

    def _end(self, slot: int, children: Labels) -> None:
        """Note the best label that is done at this slot's end, or within it."""
        may = (children.mode == RUN) | (children.mode == DONE)
        excess = children.work - self.wanted
        may &= (excess >= -self.tolerance) & (excess <= children.slack + self.tolerance)
        if not may.any():
            return
        cost = np.where(may, children.cost - children.saved * np.maximum(excess, 0.0), np.inf)
        best = int(cost.argmin())
        if cost[best] < self.upper - 1e-12 * abs(self.upper) or self.ended is None:
            if cost[best] <= self.upper * (1 + 1e-9):
                self.ended = slot, children.chosen(np.array([best]))
            self.upper = min(self.upper, float(cost[best]))

    def _kept(self, slot: int, labels: Labels) -> Labels:
        """Drop labels that cannot beat the best plan, or that another beats."""
        lower = self._lower(slot, labels)
        within = labels.work - labels.slack <= self.wanted + self.tolerance
        within &= labels.work + self.left[slot + 1] >= self.wanted - self.tolerance
        keep = np.flatnonzero((lower < self.threshold) & within)
        labels, lower = labels.chosen(keep), lower[keep]
        keep = _undominated(labels)
        labels, lower = labels.chosen(keep), lower[keep]
        if len(lower) > self.room:
            order = np.argsort(lower)
            self.dropped = min(self.dropped, float(lower[order[self.room]]))
            labels = labels.chosen(order[: self.room])
        return labels

    def _lower(self, slot: int, labels: Labels) -> Floats:
        """Return what no plan that goes on from a label can be less than."""
        to_go = np.zeros((len(self.prices), len(labels.work)))
        for mode, code in VALUED.items():
            chosen = labels.mode == mode
            if chosen.any():
                to_go[:, chosen] = self.values[code][:, slot + 1, None]
        waking = np.flatnonzero(labels.mode == RESTART)
        if len(waking):
            wake = labels.wake[waking]
            share = 1 - labels.lost_h[waking] / self.timeline.hours[wake]
            run = np.where(share > 0, self.run_value[:, wake] * share, 0.0)
            to_go[:, waking] = run + self.values[RUN][:, wake + 1]
        prices = self.prices[:, None]
        most = labels.cost - prices * labels.work
        least = most + (prices - labels.saved) * labels.slack
        bounds = np.minimum(most, least) + to_go + prices * self.wanted
        return np.asarray(bounds.max(axis=0, initial=-np.inf))


def _undominated(labels: Labels) -> NDArray[np.intp]:
    """Return which labels no other of the same mode beats: more work for less.

    More work than is wanted is no harm: the last of it is left undone, which costs nothing.
    """
    kept = []
    for code in np.unique(labels.mode):
        group = np.flatnonzero(labels.mode == code)
        if code == RESTART:
            kept.append(group)
            continue
        whole = group[labels.slack[group] == 0]
        order = whole[np.lexsort((labels.cost[whole], -labels.work[whole]))]
        cheapest = np.minimum.accumulate(labels.cost[order])
        front = (
            order[np.concatenate([[True], labels.cost[order][1:] < cheapest[:-1]])]
            if len(order)
            else order
        )
        kept.append(front)
        shared = group[labels.slack[group] > 0]
        if len(front) and len(shared):
            rising = front[::-1]
            at = np.searchsorted(labels.work[rising], labels.work[shared], "left")
            cost = np.append(labels.cost[rising], np.inf)[at]
            least = labels.cost[shared] - labels.saved[shared] * labels.slack[shared]
            shared = shared[cost > least]
        kept.append(shared)
    return np.concatenate(kept) if kept else np.zeros(0, np.intp)
