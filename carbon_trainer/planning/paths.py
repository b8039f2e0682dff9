"""The best path through modes when each hour of work is paid for: one pass over the slots.

With a price on work the slots part: each is run at the setting that is best in it, and what
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
"""In place of a setting: the job resumes so late in the slot that it does no work in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A mode for each slot, and a setting for each that is run.

    Attributes:
        modes: codes, shape (n,).
        settings: indices into the timeline's settings, or ``LATE``; only for slots that are run.
        work_hours: work done, hours at speed 1.
        cost: what it costs, without the price on work.
        bound: the least of cost - price x work over all paths, plus price x the required work.
    """

    modes: NDArray[np.int8]
    settings: Ints
    work_hours: float
    cost: float
    bound: float


class PathFinder:
    """Finds best paths of one timeline under one weighing of kilowatt hours.

    Args:
        timeline: the slots.
        weight: what a kilowatt hour counts, a slot, shape (n,).
        initial_mode: code of what the job does before the first slot.
    """

    def __init__(self, timeline: Timeline, weight: Floats, initial_mode: int) -> None:
        self.timeline = timeline
        self.weight = weight
        self.initial_mode = initial_mode
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
        # With work paid for, each slot's best setting depends on that slot alone.
        reduced = self._run_cost - price * self._run_work
        settings = reduced.argmin(axis=1)
        run = np.take_along_axis(reduced, settings[:, None], axis=1)[:, 0]
        resume = {code: self.resume_values(code, run) for code in self.timeline.restarts}
        values, choices, _ = _recur(run, self._idle_cost, resume, self.timeline)
        modes = self._trace_modes(choices)
        for slot, code in resumes(modes, self.initial_mode):
            if modes[slot] == RUN and self._resumes_late(code, run)[slot]:
                settings[slot] = LATE
        work, cost = self._work_and_cost(modes, settings)
        value = values[self.initial_mode]
        return Path(modes, settings, work, cost, value + price * self.timeline.problem.work_hours)

    def values(self, price: float) -> tuple[dict[int, Floats], Floats]:
        """Return the least cost to go from each boundary, by what the job did before it.

        Returns:
            The costs, shape (n + 1,) each, and what running a slot costs, shape (n,); the price
            on work taken off.
        """
        reduced = self._run_cost - price * self._run_work
        run = reduced.min(axis=1)
        resume = {code: self.resume_values(code, run) for code in self.timeline.restarts}
        all_values = _recur(run, self._idle_cost, resume, self.timeline, keep_values=True)[2]
        return {code: np.array(values) for code, values in all_values.items()}, run

    def idle_cost(self, code: int, slot: int) -> float:
        """Return what not running in a slot costs; infinite where that cannot be."""
        costs = self._idle_cost.get(code)
        return NEVER if costs is None else float(costs[slot])

    def late_cost(self, code: int, slot: int) -> float:
        """Return what idling until a restart at the slot's end costs, beside the restart."""
        return float(self._late_cost[code][slot])

    def restart_cost(self, code: int, slot: int) -> float:
        """Return what a restart in a slot costs, beside the time; infinite where impossible."""
        costs = self._restart_cost.get(code)
        return NEVER if costs is None else float(costs[slot])

    def run_values(self, price: float) -> Floats:
        """Return what running each slot at its best setting costs, less the price on its work."""
        return np.asarray((self._run_cost - price * self._run_work).min(axis=1))

    def resume_values(self, code: int, run: Floats) -> Floats:
        """Return the cost of restarting at a slot's start and running to the end of a slot."""
        restart = self.timeline.restarts[code]
        fraction = 1 - restart.lost_h / self.timeline.hours[restart.until]
        # Slots in which the job must not run cost infinity, and infinity times 0 is not a number.
        with np.errstate(invalid="ignore"):
            last = np.where(fraction > 0, run[restart.until] * fraction, 0.0)
        late = self._resumes_late(code, run)
        return np.asarray(self._restart_cost[code] + np.where(late, self._late_cost[code], last))

    def _resumes_late(self, code: int, run: Floats) -> NDArray[np.bool_]:
        """Return where idling on and restarting just before the slot's end is better."""
        restart = self.timeline.restarts[code]
        hours = self.timeline.hours
        # Only for restarts within one slot; longer ones begin at a slot's edge, as the docs say.
        within = (restart.until == np.arange(len(hours))) & (restart.lost_h > 0)
        fraction = 1 - restart.lost_h / hours
        with np.errstate(invalid="ignore"):
            return np.asarray(within & (self._late_cost[code] < run * fraction), np.bool_)

    def _trace_modes(self, choices: dict[int, list[int]]) -> NDArray[np.int8]:
        """Return the modes that the choices lead through, from the first slot on."""
        count = len(self.timeline)
        modes = np.full(count, DONE, np.int8)
        slot, mode = 0, self.initial_mode
        until = {code: restart.until.tolist() for code, restart in self.timeline.restarts.items()}
        while slot < count:
            choice = choices[mode][slot]
            if choice == DONE:
                break
            if choice == RUN and mode in until:
                # A restart may span several slots, and ends within the one that is run.
                end = until[mode][slot]
                modes[slot:end] = RESTART
                slot = end
            modes[slot] = mode = choice
            slot += 1
        return modes

    def _work_and_cost(self, modes: NDArray[np.int8], settings: Ints) -> tuple[float, float]:
        """Return a path's work and cost."""
        timeline = self.timeline
        runs = np.flatnonzero((modes == RUN) & (settings != LATE))
        lost = lost_hours(timeline, modes, self.initial_mode)
        fraction = 1 - lost[runs] / timeline.hours[runs]
        work = float(self._run_work[runs, settings[runs]] @ fraction)
        cost = float(self._run_cost[runs, settings[runs]] @ fraction)
        for code, costs in self._idle_cost.items():
            cost += float(costs[modes == code].sum())
        for slot, code in resumes(modes, self.initial_mode):
            cost += float(self._restart_cost[code][slot])
            if settings[slot] == LATE and modes[slot] == RUN:
                cost += float(self._late_cost[code][slot])
        return work, cost


def resumes(modes: NDArray[np.int8], initial_mode: int) -> list[tuple[int, int]]:
    """Return where the job resumes, and from which kind of idling: (slot, code)."""
    previous = np.concatenate([[initial_mode], modes[:-1]])
    idle = (previous == PAUSE) | (previous == RELEASE)
    is_resume = idle & ((modes == RUN) | (modes == RESTART))
    return [(int(slot), int(previous[slot])) for slot in np.flatnonzero(is_resume)]


def lost_hours(timeline: Timeline, modes: NDArray[np.int8], initial_mode: int) -> Floats:
    """Return the hours of each slot that a restart takes before work goes on."""
    lost = np.zeros(len(timeline))
    for slot, code in resumes(modes, initial_mode):
        restart = timeline.restarts[code]
        lost[restart.until[slot]] = restart.lost_h[slot]
    return lost


def _recur(  # noqa: C901 - one loop, for speed
    run: Floats, idle: dict[int, Floats], resume: dict[int, Floats], timeline: Timeline,
    *, keep_values: bool = False,
) -> tuple[dict[int, float], dict[int, list[int]], dict[int, list[float]]]:  # fmt: skip
    """Return the least cost to go, the choice in each slot, and all costs to go if asked.

    Both are by what the job did before: a slot's choice is a mode, or DONE for ending there.

    The loop is plain Python on floats: per slot it is ten times faster than array calls.
    """
    count = len(run)
    never = [NEVER] * count
    run_costs = run.tolist()
    queue_cost = idle[QUEUE].tolist()
    pause_cost = idle[PAUSE].tolist() if PAUSE in idle else never
    release_cost = idle[RELEASE].tolist() if RELEASE in idle else never
    resume_from_pause = resume[PAUSE].tolist() if PAUSE in resume else never
    resume_from_release = resume[RELEASE].tolist() if RELEASE in resume else never
    pause_until = timeline.restarts[PAUSE].until.tolist() if PAUSE in resume else range(count)
    release_until = timeline.restarts[RELEASE].until.tolist() if RELEASE in resume else range(count)
    # Every mode may end early, at no further cost: in the last slot of a run the work may be done
    # before its end, and the allocation then leaves the rest of the slot out.
    queue = pause = release = running = 0.0
    running_values = [0.0] * (count + 1)
    all_values: dict[int, list[float]] = {
        code: [0.0] * (count + 1) for code in (QUEUE, PAUSE, RELEASE)
    }
    queue_choice, run_choice = [QUEUE] * count, [DONE] * count
    pause_choice, release_choice = [PAUSE] * count, [RELEASE] * count
    for t in range(count - 1, -1, -1):
        run_total = run_costs[t] + running
        pause_total = pause_cost[t] + pause
        release_total = release_cost[t] + release
        # Each value is replaced in place, so the sums above are taken first: they need the values
        # of the slot after this one.
        pause = resume_from_pause[t] + running_values[pause_until[t] + 1]
        pause_choice[t] = RUN
        if pause_total < pause:
            pause, pause_choice[t] = pause_total, PAUSE
        if release_total < pause:
            pause, pause_choice[t] = release_total, RELEASE
        if pause >= 0.0:
            pause, pause_choice[t] = 0.0, DONE
        release = resume_from_release[t] + running_values[release_until[t] + 1]
        release_choice[t] = RUN
        if release_total < release:
            release, release_choice[t] = release_total, RELEASE
        if release >= 0.0:
            release, release_choice[t] = 0.0, DONE
        queue += queue_cost[t]
        # On a tie the job starts, so that it is done earlier.
        if run_total <= queue:
            queue, queue_choice[t] = run_total, RUN
        if queue >= 0.0:
            queue, queue_choice[t] = 0.0, DONE
        running = 0.0
        if run_total < running:
            running, run_choice[t] = run_total, RUN
        if pause_total < running:
            running, run_choice[t] = pause_total, PAUSE
        if release_total < running:
            running, run_choice[t] = release_total, RELEASE
        running_values[t] = running
        if keep_values:
            all_values[QUEUE][t] = queue
            all_values[PAUSE][t] = pause
            all_values[RELEASE][t] = release
    all_values[RUN] = running_values
    values = {QUEUE: queue, RUN: running, PAUSE: pause, RELEASE: release}
    choices = {
        QUEUE: queue_choice, RUN: run_choice, PAUSE: pause_choice, RELEASE: release_choice,
    }  # fmt: skip
    return values, choices, all_values
