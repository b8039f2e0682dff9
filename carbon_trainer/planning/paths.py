"""The best path through modes when each hour of work is paid for: one pass over the slots.

With a price on work the slots part: each is run at the level that is best in it, and what
remains is to choose modes, which a backward recursion over (slot, mode before) does exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.planning.timeline import (
    DONE,
    PAUSE,
    QUEUE,
    RELEASE,
    RESTART,
    RUN,
    Floats,
    Ints,
    Timeline,
)

NEVER = float("inf")

LATE = -1
"""In place of a level: the job comes back so late in the slot that it does no work in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A mode for each slot, and a level for each that is run.

    Attributes:
        modes: codes, shape (n,).
        levels: indices into the timeline's levels, or ``LATE``; only for slots that are run.
        work_hours: work done, hours at speed 1.
        cost: what it costs, without the price on work.
        bound: the least of cost - price x work over all paths, plus price x the work wanted.
    """

    modes: NDArray[np.int8]
    levels: Ints
    work_hours: float
    cost: float
    bound: float


class PathFinder:
    """Finds best paths of one timeline under one weighing of kilowatt hours.

    Args:
        timeline: the slots.
        weight: what a kilowatt hour counts, a slot, shape (n,).
        before: code of what the job does before the first slot.
    """

    def __init__(self, timeline: Timeline, weight: Floats, before: int) -> None:
        self.timeline = timeline
        self.weight = weight
        self.before = before
        hours = timeline.hours
        # With weights below 0 idling would pay; providers' and prices' zeros are fine.
        self._run_cost = np.where(
            timeline.allowed, np.multiply.outer(weight * hours, timeline.power_kw), NEVER
        )
        self._run_work = np.multiply.outer(hours, timeline.speed)
        self._idle_cost = {
            code: weight * hours * kw
            for code in (QUEUE, PAUSE, RELEASE)
            if (kw := timeline.idle_kw(code)) != NEVER
        }
        self._late_cost = {
            code: weight * np.maximum(hours - restart.lost_h, 0.0) * timeline.idle_kw(code)
            for code, restart in timeline.restarts.items()
        }
        self._restart_cost = {
            code: np.where(
                restart.possible, restart.kwh * timeline.restart_weight(code, weight), NEVER
            )
            for code, restart in timeline.restarts.items()
        }

    def best(self, price: float) -> Path:
        """Return the path of least cost when an hour of work is paid ``price``."""
        reduced = self._run_cost - price * self._run_work
        levels = reduced.argmin(axis=1)
        run = np.take_along_axis(reduced, levels[:, None], axis=1)[:, 0]
        back = {code: self.come_back(code, run) for code in self.timeline.restarts}
        values, choices, _ = _recur(run, self._idle_cost, back, self.timeline)
        modes = self._follow(choices)
        for slot, code in comebacks(modes, self.before):
            if modes[slot] == RUN and self._comes_late(code, run)[slot]:
                levels[slot] = LATE
        work, cost = self._sums(modes, levels)
        value = values[self.before]
        return Path(modes, levels, work, cost, value + price * self.timeline.problem.work_hours)

    def values(self, price: float) -> tuple[dict[int, Floats], Floats]:
        """Return the least cost to go from each boundary, by what the job did before it.

        Returns:
            The costs, shape (n + 1,) each, and what running a slot costs, shape (n,); the price
            on work taken off.
        """
        reduced = self._run_cost - price * self._run_work
        run = reduced.min(axis=1)
        back = {code: self.come_back(code, run) for code in self.timeline.restarts}
        kept = _recur(run, self._idle_cost, back, self.timeline, keep=True)[2]
        return {code: np.array(values) for code, values in kept.items()}, run

    def idle_cost(self, code: int, slot: int) -> float:
        """Return what not running in a slot costs; infinite where that cannot be."""
        costs = self._idle_cost.get(code)
        return NEVER if costs is None else float(costs[slot])

    def late_cost(self, code: int, slot: int) -> float:
        """Return what idling until a restart at the slot's end costs, beside the restart."""
        return float(self._late_cost[code][slot])

    def restart_cost(self, code: int, slot: int) -> float:
        """Return what coming back in a slot costs, beside the time; infinite where it cannot be."""
        costs = self._restart_cost.get(code)
        return NEVER if costs is None else float(costs[slot])

    def run_values(self, price: float) -> Floats:
        """Return what running each slot at its best level costs, less the price on its work."""
        return np.asarray((self._run_cost - price * self._run_work).min(axis=1))

    def come_back(self, code: int, run: Floats) -> Floats:
        """Return the cost of coming back at a slot's start and running to the end of a slot."""
        restart = self.timeline.restarts[code]
        share = 1 - restart.lost_h / self.timeline.hours[restart.until]
        with np.errstate(invalid="ignore"):
            last = np.where(share > 0, run[restart.until] * share, 0.0)
        late = self._comes_late(code, run)
        return np.asarray(self._restart_cost[code] + np.where(late, self._late_cost[code], last))

    def _comes_late(self, code: int, run: Floats) -> NDArray[np.bool_]:
        """Return where idling on and coming back just before the slot's end is better."""
        restart = self.timeline.restarts[code]
        hours = self.timeline.hours
        within = (restart.until == np.arange(len(hours))) & (restart.lost_h > 0)
        share = 1 - restart.lost_h / hours
        with np.errstate(invalid="ignore"):
            return np.asarray(within & (self._late_cost[code] < run * share), np.bool_)

    def _follow(self, choices: dict[int, list[int]]) -> NDArray[np.int8]:
        count = len(self.timeline)
        modes = np.full(count, DONE, np.int8)
        slot, mode = 0, self.before
        until = {code: each.until.tolist() for code, each in self.timeline.restarts.items()}
        while slot < count:
            choice = choices[mode][slot]
            if choice == DONE:
                break
            if choice == RUN and mode in until:
                last = until[mode][slot]
                modes[slot:last] = RESTART
                slot = last
            modes[slot] = mode = choice
            slot += 1
        return modes

    def _sums(self, modes: NDArray[np.int8], levels: Ints) -> tuple[float, float]:
        """Return a path's work and cost."""
        timeline = self.timeline
        runs = np.flatnonzero((modes == RUN) & (levels != LATE))
        share = 1 - lost_hours(timeline, modes, self.before)[runs] / timeline.hours[runs]
        work = float(self._run_work[runs, levels[runs]] @ share)
        cost = float(self._run_cost[runs, levels[runs]] @ share)
        for code, each in self._idle_cost.items():
            cost += float(each[modes == code].sum())
        for slot, code in comebacks(modes, self.before):
            cost += float(self._restart_cost[code][slot])
            if levels[slot] == LATE and modes[slot] == RUN:
                cost += float(self._late_cost[code][slot])
        return work, cost


def comebacks(modes: NDArray[np.int8], before: int) -> list[tuple[int, int]]:
    """Return where the job comes back, and from what: (slot, code)."""
    previous = np.concatenate([[before], modes[:-1]])
    idle = (previous == PAUSE) | (previous == RELEASE)
    back = idle & ((modes == RUN) | (modes == RESTART))
    return [(int(slot), int(previous[slot])) for slot in np.flatnonzero(back)]


def lost_hours(timeline: Timeline, modes: NDArray[np.int8], before: int) -> Floats:
    """Return the hours of each slot that coming back takes before work goes on."""
    lost = np.zeros(len(timeline))
    for slot, code in comebacks(modes, before):
        restart = timeline.restarts[code]
        lost[restart.until[slot]] = restart.lost_h[slot]
    return lost


def _recur(  # noqa: C901 - one loop, for speed
    run: Floats, idle: dict[int, Floats], back: dict[int, Floats], timeline: Timeline,
    *, keep: bool = False,
) -> tuple[dict[int, float], dict[int, list[int]], dict[int, list[float]]]:  # fmt: skip
    """Return the least cost to go, what is done in each slot, and all costs to go if kept.

    The loop is plain Python on floats: per slot it is ten times faster than array calls.
    """
    count = len(run)
    never = [NEVER] * count
    runs = run.tolist()
    queue_cost = idle[QUEUE].tolist()
    pause_cost = idle[PAUSE].tolist() if PAUSE in idle else never
    release_cost = idle[RELEASE].tolist() if RELEASE in idle else never
    from_pause = back[PAUSE].tolist() if PAUSE in back else never
    from_release = back[RELEASE].tolist() if RELEASE in back else never
    pause_until = timeline.restarts[PAUSE].until.tolist() if PAUSE in back else range(count)
    release_until = timeline.restarts[RELEASE].until.tolist() if RELEASE in back else range(count)
    # Ending early is allowed to all: a slot may be shared, and its lesser half is not to run.
    queue = pause = release = running = 0.0
    to_run = [0.0] * (count + 1)
    kept: dict[int, list[float]] = {c: [0.0] * (count + 1) for c in (QUEUE, PAUSE, RELEASE)}
    queue_choice, run_choice = [QUEUE] * count, [DONE] * count
    pause_choice, release_choice = [PAUSE] * count, [RELEASE] * count
    for t in range(count - 1, -1, -1):
        go = runs[t] + running
        wait = pause_cost[t] + pause
        leave = release_cost[t] + release
        pause = from_pause[t] + to_run[pause_until[t] + 1]
        pause_choice[t] = RUN
        if wait < pause:
            pause, pause_choice[t] = wait, PAUSE
        if leave < pause:
            pause, pause_choice[t] = leave, RELEASE
        if pause >= 0.0:
            pause, pause_choice[t] = 0.0, DONE
        release = from_release[t] + to_run[release_until[t] + 1]
        release_choice[t] = RUN
        if leave < release:
            release, release_choice[t] = leave, RELEASE
        if release >= 0.0:
            release, release_choice[t] = 0.0, DONE
        queue += queue_cost[t]
        if go <= queue:
            queue, queue_choice[t] = go, RUN
        if queue >= 0.0:
            queue, queue_choice[t] = 0.0, DONE
        running = 0.0
        if go < running:
            running, run_choice[t] = go, RUN
        if wait < running:
            running, run_choice[t] = wait, PAUSE
        if leave < running:
            running, run_choice[t] = leave, RELEASE
        to_run[t] = running
        if keep:
            kept[QUEUE][t], kept[PAUSE][t], kept[RELEASE][t] = queue, pause, release
    kept[RUN] = to_run
    values = {QUEUE: queue, RUN: running, PAUSE: pause, RELEASE: release}
    choices = {
        QUEUE: queue_choice, RUN: run_choice, PAUSE: pause_choice, RELEASE: release_choice,
    }  # fmt: skip
    return values, choices, kept
