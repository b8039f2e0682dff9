"""Partial paths of the search, many at a time as arrays, and which of them are worth keeping."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.timeline import RESTART, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Partial paths up to a slot; arrays of one length.

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
        index = np.zeros(1, np.int64)
        return cls(np.array([mode], np.int8), zero, zero, zero, zero, index, index, zero)

    @classmethod
    def concatenate(cls, parts: list[Labels]) -> Labels:
        """Return several sets as one."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def select(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> Labels:
        """Return some of them."""
        return Labels(*(getattr(self, field.name)[keep] for field in fields(self)))

    def advance(self, mode: int, **added: Floats | float) -> Labels:
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


def pareto_front(labels: Labels) -> NDArray[np.intp]:
    """Return which labels no other of the same mode beats: more work for less.

    More work than is required does no harm: the last of it is left undone, which costs nothing.
    """
    fronts = []
    for code in np.unique(labels.mode):
        group = np.flatnonzero(labels.mode == code)
        if code == RESTART:
            # Restarts of other lengths end at other times, so none of them beats another.
            fronts.append(group)
            continue
        unshared = group[labels.slack[group] == 0]
        # By falling work, a label is on the front if it costs less than all that do more work.
        order = unshared[np.lexsort((labels.cost[unshared], -labels.work[unshared]))]
        cheapest = np.minimum.accumulate(labels.cost[order])
        front = (
            order[np.concatenate([[True], labels.cost[order][1:] < cheapest[:-1]])]
            if len(order)
            else order
        )
        fronts.append(front)
        shared = group[labels.slack[group] > 0]
        if len(front) and len(shared):
            rising = front[::-1]
            nearest = np.searchsorted(labels.work[rising], labels.work[shared], "left")
            cost = np.append(labels.cost[rising], np.inf)[nearest]
            # A label with a shared slot is a line from its least work and cost to its most. It is
            # beaten where a label on the front does its most work for no more than its least cost.
            lowest = labels.cost[shared] - labels.saved[shared] * labels.slack[shared]
            shared = shared[cost > lowest]
        fronts.append(shared)
    return np.concatenate(fronts) if fronts else np.zeros(0, np.intp)
