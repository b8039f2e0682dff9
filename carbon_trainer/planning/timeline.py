"""A problem cut into slots in which nothing changes, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.problem import (
    NS_PER_H,
    Idle,
    Mode,
    PlanProblem,
    PowerSetting,
    edges_ns,
    hull,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUEUE, RUN, PAUSE, RELEASE, RESTART, DONE = range(6)
"""What a job does in a slot, as small numbers for arrays."""

MODES = (Mode.QUEUE, Mode.RUN, Mode.PAUSE, Mode.RELEASE, Mode.RESTART)
MODE_OF_STATE = {"queued": QUEUE, "running": RUN, "paused": PAUSE, "released": RELEASE}
IDLE_CODES = {PAUSE: Mode.PAUSE, RELEASE: Mode.RELEASE}


@dataclass(frozen=True, slots=True)
class Restart:
    """A restart after idling, begun at the start of each slot; arrays of one value a slot.

    Attributes:
        until: the slot in which it is over.
        lost_h: hours of that slot which it takes.
        possible: whether it ends before the deadline and in no black-out.
        kwh: kilowatt hours used in all.
    """

    until: Ints
    lost_h: Floats
    possible: NDArray[np.bool_]
    kwh: float


@dataclass(frozen=True, eq=False)
class Timeline:
    """Slots of one problem.

    Attributes:
        problem: what it was cut from.
        edges_ns: slots' edges, shape (n + 1,).
        hours: slots' lengths, shape (n,).
        intensity: g/kWh, shape (n,).
        price: money/kWh, shape (n,); zeros where none is known.
        power_settings: the settings that a plan needs, slowest first.
        allowed: which of them may be run at, shape (n, settings).
    """

    problem: PlanProblem
    edges_ns: Ints
    hours: Floats
    intensity: Floats
    price: Floats
    power_settings: tuple[PowerSetting, ...]
    allowed: NDArray[np.bool_]

    @classmethod
    def of(cls, problem: PlanProblem) -> Timeline:
        """Cut a problem into slots."""
        edges = edges_ns(problem)
        # A slot's middle lies within one value of every series; its edges lie on two.
        middles = (edges[:-1] + edges[1:]) // 2
        # A cap may forbid the fastest settings, and then others make up the envelope: a slot's
        # envelope is built from those that are allowed in it, so all must be there.
        settings = tuple(sorted(problem.power_settings, key=lambda setting: setting.speed))
        if not problem.caps:
            settings = tuple(hull(list(settings)))
        price = np.zeros(len(middles)) if problem.price is None else problem.price.at(middles)
        return cls(
            problem,
            edges,
            np.diff(edges) / NS_PER_H,
            problem.intensity.at(middles),
            price,
            settings,
            _allowed_settings(problem, settings, middles),
        )

    def __len__(self) -> int:
        return len(self.hours)

    @cached_property
    def power_kw(self) -> Floats:
        """Settings' powers, kilowatts."""
        return np.array([setting.power_w for setting in self.power_settings]) / 1000

    @cached_property
    def speed(self) -> Floats:
        """Settings' speeds."""
        return np.array([setting.speed for setting in self.power_settings])

    @cached_property
    def fastest(self) -> Floats:
        """The highest allowed speed in each slot, 0 where the job must not run."""
        return np.asarray(np.where(self.allowed, self.speed, 0.0).max(axis=1))

    @cached_property
    def base_weight(self) -> Floats:
        """What a kilowatt hour counts in the objective, a slot."""
        objective = self.problem.objective
        return np.asarray(objective.per_gco2e * self.intensity + objective.per_cost * self.price)

    def idle(self, code: int) -> Idle:
        """Return a way to idle by its code."""
        return self.problem.idles[IDLE_CODES[code]]

    def idle_kw(self, code: int) -> float:
        """Return what is drawn where the job does not run, kilowatts; infinite if it cannot be."""
        if code == DONE:
            return 0.0
        if code == QUEUE:
            return self.problem.queue_w / 1000
        idle = self.problem.idles.get(IDLE_CODES[code])
        return float("inf") if idle is None else idle.power_w / 1000

    @cached_property
    def restarts(self) -> dict[int, Restart]:
        """Restarts, by the kind of idling that they end."""
        return {
            code: self._restart(self.problem.idles[mode])
            for code, mode in IDLE_CODES.items()
            if mode in self.problem.idles
        }

    def _restart(self, idle: Idle) -> Restart:
        starts = self.edges_ns[:-1]
        ends = starts + round(idle.restart_s * 1e9)
        # A restart that ends on an edge leaves the next slot whole.
        until = np.searchsorted(self.edges_ns, ends, "right") - 1
        is_inside = until < len(self)
        until = np.minimum(until, len(self) - 1)
        lost_h = np.where(is_inside, (ends - self.edges_ns[until]) / NS_PER_H, 0.0)
        # Cumulative, so that two values are equal where no slot in between is closed.
        closed_slots = np.concatenate([[0], np.cumsum(~self.allowed.any(axis=1))])
        possible = is_inside & (closed_slots[until + 1] == closed_slots[:-1])
        return Restart(until, lost_h, possible, idle.restart_kwh)

    def restart_weight(self, code: int, weight: Floats) -> Floats:
        """Return the mean weight over the time that a restart in each slot takes.

        Args:
            code: the kind of idling that it ends.
            weight: a kilowatt hour's weight, a slot.
        """
        restart = self.restarts[code]
        if (restart.until == np.arange(len(self))).all():
            # The usual case: restarts of seconds, slots of minutes.
            return weight
        # Cumulative sums give the integral over a restart of any number of slots in one step.
        total = np.concatenate([[0.0], np.cumsum(weight * self.hours)])
        weight_hours = total[restart.until] - total[:-1] + weight[restart.until] * restart.lost_h
        hours = (self.edges_ns[restart.until] - self.edges_ns[:-1]) / NS_PER_H + restart.lost_h
        return np.asarray(np.where(hours > 0, weight_hours / np.maximum(hours, 1e-12), weight))


def _allowed_settings(
    problem: PlanProblem, settings: tuple[PowerSetting, ...], middles: Ints
) -> NDArray[np.bool_]:
    may_run = np.ones(len(middles), bool)
    for start_ns, end_ns in problem.blackouts:
        may_run &= (middles < start_ns) | (middles >= end_ns)
    if problem.not_before_ns is not None:
        may_run &= middles >= problem.not_before_ns
    allowed = np.repeat(may_run[:, None], len(settings), axis=1)
    power_w = np.array([setting.power_w for setting in settings])
    for cap in problem.caps:
        capped = (middles >= cap.start_ns) & (middles < cap.end_ns)
        allowed[capped] &= power_w <= cap.power_w
    return allowed
