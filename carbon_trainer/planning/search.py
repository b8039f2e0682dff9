"""Closes the gap between a plan and its bound by looking at all paths that could lie in between.

A resource-constrained shortest path (Handler and Zang 1980): labels go forward through the slots,
and what the relaxation says of the rest of each prunes those that cannot beat the best plan. In
an optimal plan at most one slot is shared between two settings, or between a setting and not
running, so a label has at most one slot in which work may be given back.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.allocation import Allocation, allocate, choices
from carbon_trainer.planning.dual import Relaxed
from carbon_trainer.planning.labels import Labels, pareto_front
from carbon_trainer.planning.paths import PathFinder
from carbon_trainer.planning.polish import polish
from carbon_trainer.planning.timeline import (
    DONE,
    PAUSE,
    QUEUE,
    RELEASE,
    RESTART,
    RUN,
    Floats,
)
from carbon_trainer.planning.windows import price_range, window_bound

LONGEST = 500
"""Slots of the longest problem that is searched: in longer ones runs can be fitted so finely that
little is left to be found."""

NEAR = 1e-3
"""A long plan this near its bound, relative, is good enough."""

EFFORT = 720_000
"""Labels times slots times settings of a search; what is dropped for want of room lowers the bound
that is proved."""

MOST_ROOM = 2_000
"""Labels kept in a slot of a search at most."""

SECOND = 5
"""A short problem is searched again with so many times the room, if the first was too little."""

SHORT = 400
"""Slots times settings of a short problem."""

STARTS = 3
"""Runs without a break that are tried besides the relaxation's plan."""

TO_PAUSE, TO_RELEASE = 6, 7
"""Modes of a label that has shared its slot with what it must do in the next."""

IDLES_NEXT = {PAUSE: TO_PAUSE, RELEASE: TO_RELEASE}
VALUED = {QUEUE: QUEUE, RUN: RUN, PAUSE: PAUSE, RELEASE: RELEASE,
          TO_PAUSE: PAUSE, TO_RELEASE: RELEASE}  # fmt: skip
NEXT_IDLE = {QUEUE: (QUEUE,), RUN: (PAUSE, RELEASE), PAUSE: (PAUSE, RELEASE), RELEASE: (RELEASE,),
             TO_PAUSE: (PAUSE,), TO_RELEASE: (RELEASE,)}  # fmt: skip
ROUNDING = 1e-9


def close_gap(
    finder: PathFinder, relaxed: Relaxed, best: Allocation | None, goal: float
) -> tuple[Allocation | None, float]:
    """Return a better plan if there is one, and the bound that is proved then.

    Args:
        finder: the problem under one weighing.
        relaxed: its relaxation.
        best: the best plan known.
        goal: the relative gap that is good enough.
    """
    if len(finder.timeline) > LONGEST:
        is_near = best is not None and best.cost - relaxed.bound <= NEAR * abs(relaxed.bound)
        return best if is_near or best is None else polish(finder, best), relaxed.bound
    # Both are bounds, so the higher one holds.
    lowest, windows = window_bound(finder, relaxed.price)
    bound = max(relaxed.bound, lowest)
    best = _polish_starts(finder, best, windows)
    for room in _rooms(finder):
        if best is not None and best.cost - bound <= goal * abs(bound):
            break
        search = _Search(finder, relaxed, best, goal, room)
        search.run()
        modes = search.modes()
        plan = None
        if modes is not None:
            plan = allocate(finder.timeline, finder.weight, modes, finder.initial_mode)
        if plan is not None and (best is None or plan.cost < best.cost):
            best = polish(finder, plan)
        bound = max(bound, search.bound())
        if best is not None and best.cost - bound <= NEAR * abs(bound):
            break
    return best, bound


def _rooms(finder: PathFinder) -> list[int]:
    """Return how many labels to keep in a slot, search by search."""
    size = len(finder.timeline) * len(finder.timeline.power_settings)
    room = min(MOST_ROOM, EFFORT // size)
    return [room, SECOND * room] if size <= SHORT else [room]


def _polish_starts(
    finder: PathFinder, best: Allocation | None, windows: list[tuple[int, int]]
) -> Allocation | None:
    """Return the best of what a plan, and running without a break in some windows, lead to."""
    count = len(finder.timeline)
    unbroken_runs = []
    for first, last in windows if finder.initial_mode == QUEUE else []:
        modes = np.full(count, DONE, np.int8)
        modes[:first], modes[first : last + 1] = QUEUE, RUN
        if (finder.timeline.fastest[modes == RUN] > 0).all():
            plan = allocate(finder.timeline, finder.weight, modes, finder.initial_mode)
            unbroken_runs += [plan] if plan is not None else []
    unbroken_runs.sort(key=lambda plan: plan.cost)
    starts = [*([best] if best is not None else []), *unbroken_runs[:STARTS]]
    ends = [polish(finder, start) for start in starts]
    return min(ends, key=lambda plan: plan.cost, default=None)


class _Search:
    """One pass of labels through the slots.

    Args:
        finder: the problem under one weighing.
        relaxed: its relaxation.
        best: the best plan known, to beat.
        goal: the relative gap that is good enough.
        room: labels that are kept in a slot.
    """

    def __init__(
        self,
        finder: PathFinder,
        relaxed: Relaxed,
        best: Allocation | None,
        goal: float,
        room: int,
    ) -> None:
        self.finder = finder
        self.room = room
        self.timeline = finder.timeline
        # The work left differs from label to label, and with it the price that bounds it best.
        self.prices = np.append(price_range(relaxed.price), relaxed.price)
        per_price = [finder.values(price) for price in self.prices]
        self.values = {
            code: np.stack([to_go[code] for to_go, _ in per_price]) for code in per_price[0][0]
        }
        self.run_value = np.stack([run for _, run in per_price])
        self.work_hours = self.timeline.problem.work_hours
        self.goal = goal
        self.upper = np.inf if best is None else best.cost
        self.dropped_bound = np.inf
        self.history: list[Labels] = []
        self.best_end: tuple[int, Labels] | None = None
        capacity = self.timeline.fastest * self.timeline.hours
        self.capacity_left = np.concatenate([np.cumsum(capacity[::-1])[::-1], [0.0]])
        self.tolerance = ROUNDING * self.work_hours

    @property
    def threshold(self) -> float:
        """The cost that a label must be able to beat to be kept.

        Half the goal below the best plan: what is not looked for then still leaves it within it.
        """
        return self.upper - self.goal * abs(self.upper) / 2 if np.isfinite(self.upper) else np.inf

    def bound(self) -> float:
        """Return the bound that holds after the search.

        No plan costs less than what the search looked for, nor than the best label that was
        dropped for want of room.
        """
        return min(self.threshold, self.dropped_bound, self.upper)

    def run(self) -> None:
        """Go through all slots."""
        labels = Labels.first(self.finder.initial_mode)
        # The history is all that is needed to trace a path back: each label names its parent.
        for slot in range(len(self.timeline)):
            labels = self._as_parents(labels)
            # Nothing may follow, as in a black-out on end: an empty set keeps the arrays' types.
            empty = Labels.first(DONE).select(np.zeros(1, bool))
            children = Labels.concatenate([empty, *self._children(slot, labels)])
            self._record_end(slot, children)
            labels = self._prune(slot, children.select(children.mode != DONE))
            self.history.append(labels)
            if not len(labels.work):
                return

    def modes(self) -> NDArray[np.int8] | None:
        """Return the modes of the best path that was found; None where none was."""
        if self.best_end is None:
            return None
        last, label = self.best_end
        modes = np.full(len(self.timeline), DONE, np.int8)
        modes[last] = RUN
        parent = int(label.parent[0])
        for slot in range(last - 1, -1, -1):
            mode = int(self.history[slot].mode[parent])
            modes[slot] = RUN if mode in (TO_PAUSE, TO_RELEASE) else mode
            parent = int(self.history[slot].parent[parent])
        return modes

    def _as_parents(self, labels: Labels) -> Labels:
        """Number labels, so that their children know which of them they come from."""
        return dataclasses.replace(labels, parent=np.arange(len(labels.work)))

    def _children(self, slot: int, labels: Labels) -> list[Labels]:
        children: list[Labels] = []
        hours = float(self.timeline.hours[slot])
        for mode in NEXT_IDLE:
            group = labels.select(labels.mode == mode)
            if not len(group.work):
                continue
            for code in NEXT_IDLE[mode]:
                cost = self.finder.idle_cost(code, slot)
                if np.isfinite(cost):
                    children.append(group.advance(code, cost=cost))
            if mode in (QUEUE, RUN):
                children += self._run_children(slot, group, hours, mode)
            elif mode in (PAUSE, RELEASE):
                children += self._resume_children(slot, group, mode)
        return children + self._restart_children(slot, labels.select(labels.mode == RESTART))

    def _resume_children(self, slot: int, group: Labels, mode: int) -> list[Labels]:
        cost = self.finder.restart_cost(mode, slot)
        if not np.isfinite(cost):
            return []
        restart = self.timeline.restarts[mode]
        until, lost_h = int(restart.until[slot]), float(restart.lost_h[slot])
        if until > slot:
            return [group.advance(RESTART, cost=cost, wake=float(until), lost_h=lost_h)]
        hours = float(self.timeline.hours[slot]) - lost_h
        children = self._run_children(slot, group.advance(mode, cost=cost), hours, mode)
        if lost_h:
            children.append(group.advance(RUN, cost=cost + self.finder.late_cost(mode, slot)))
        return children

    def _restart_children(self, slot: int, group: Labels) -> list[Labels]:
        children = []
        for wake, lost_h in {*zip(group.wake.tolist(), group.lost_h.tolist(), strict=True)}:
            part = group.select((group.wake == wake) & (group.lost_h == lost_h))
            if wake > slot:
                children.append(part)
            else:
                hours = float(self.timeline.hours[slot]) - lost_h
                children += self._run_children(slot, part, hours, RUN)
        return children

    def _run_children(self, slot: int, group: Labels, hours: float, previous: int) -> list[Labels]:
        """Return the labels that run in a slot: at one setting, or sharing it if none is shared."""
        timeline = self.timeline
        allowed = np.flatnonzero(timeline.allowed[slot])
        if not len(allowed):
            return []
        weight = float(self.finder.weight[slot])
        children = [
            group.advance(
                RUN,
                work=timeline.speed[i] * hours,
                cost=timeline.power_kw[i] * hours * weight,
            )
            for i in allowed
        ]
        # At most one slot of an optimal plan is shared: after that a label runs whole slots.
        unshared = group.select(group.slack == 0)
        if not len(unshared.work):
            return children
        ends = {(RUN, RUN), (DONE, DONE), (previous, RUN), *IDLES_NEXT.items()}
        ends |= {(previous, after) for after in IDLES_NEXT.values() if previous != RUN}
        for shared, after in sorted(ends):
            if shared in IDLES_NEXT and not np.isfinite(timeline.idle_kw(shared)):
                continue
            (_, _, _), segments = choices(timeline, allowed, shared)
            for low, high, d_speed, d_kw in segments:
                if (low is None) == (shared == RUN):
                    # A step from idling belongs to sharing with idling, one between two settings to
                    # sharing with RUN; else the same label would be made twice.
                    continue
                children.append(
                    unshared.advance(
                        after,
                        work=timeline.speed[high] * hours,
                        cost=timeline.power_kw[high] * hours * weight,
                        slack=d_speed * hours,
                        saved=d_kw / d_speed * weight,
                    )
                )
        return children

    def _record_end(self, slot: int, children: Labels) -> None:
        """Record the best label whose work is done at this slot's end, or within it."""
        is_end = (children.mode == RUN) | (children.mode == DONE)
        excess = children.work - self.work_hours
        # What is too much may be given back in the shared slot, at what an hour of it saves there.
        is_end &= (excess >= -self.tolerance) & (excess <= children.slack + self.tolerance)
        if not is_end.any():
            return
        cost = np.where(is_end, children.cost - children.saved * np.maximum(excess, 0.0), np.inf)
        best = int(cost.argmin())
        if cost[best] < self.upper - 1e-12 * abs(self.upper) or self.best_end is None:
            # Labels and allocations are summed in different orders: a path as good as the best
            # plan may come out dearer by rounding.
            if cost[best] <= self.upper * (1 + 1e-9):
                self.best_end = slot, children.select(np.array([best]))
            self.upper = min(self.upper, float(cost[best]))

    def _prune(self, slot: int, labels: Labels) -> Labels:
        """Drop labels that cannot beat the best plan, or that another beats."""
        lower = self._lower(slot, labels)
        # Neither too much work already, whatever is given back, nor too little left to do the rest.
        within = labels.work - labels.slack <= self.work_hours + self.tolerance
        within &= labels.work + self.capacity_left[slot + 1] >= self.work_hours - self.tolerance
        keep = np.flatnonzero((lower < self.threshold) & within)
        labels, lower = labels.select(keep), lower[keep]
        keep = pareto_front(labels)
        labels, lower = labels.select(keep), lower[keep]
        if len(lower) > self.room:
            order = np.argsort(lower)
            # What is dropped may have led to the optimum: the best bound among it limits what the
            # search proves.
            self.dropped_bound = min(self.dropped_bound, float(lower[order[self.room]]))
            labels = labels.select(order[: self.room])
        return labels

    def _lower(self, slot: int, labels: Labels) -> Floats:
        """Return what no plan that goes on from a label can be less than."""
        to_go = np.zeros((len(self.prices), len(labels.work)))
        for mode, code in VALUED.items():
            is_mode = labels.mode == mode
            if is_mode.any():
                to_go[:, is_mode] = self.values[code][:, slot + 1, None]
        # A label within a restart runs on from the slot in which the restart ends.
        waking = np.flatnonzero(labels.mode == RESTART)
        if len(waking):
            wake = labels.wake[waking]
            fraction = 1 - labels.lost_h[waking] / self.timeline.hours[wake]
            run = np.where(fraction > 0, self.run_value[:, wake] * fraction, 0.0)
            to_go[:, waking] = run + self.values[RUN][:, wake + 1]
        prices = self.prices[:, None]
        # A label's reduced cost is linear in the work given back, so it is least at an end.
        cost_floor = labels.cost - prices * labels.work
        slack_floor = cost_floor + (prices - labels.saved) * labels.slack
        bounds = np.minimum(cost_floor, slack_floor) + to_go + prices * self.work_hours
        return np.asarray(bounds.max(axis=0, initial=-np.inf))
