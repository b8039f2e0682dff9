"""The same problem as a mixed-integer programme, solved by HiGHS: the reference for plans.

One binary a slot and mode, hours at each setting and of each kind of idling, one binary a restart.
A slot that is run may be shared with the idling that lies beside it.
"""

from __future__ import annotations

import highspy
import numpy as np

from carbon_trainer.planning.problem import PlanProblem
from carbon_trainer.planning.timeline import (
    DONE,
    MODE_OF_STATE,
    PAUSE,
    QUEUE,
    RELEASE,
    RUN,
    Timeline,
)

ENDLESS = highspy.kHighsInf


class Programme:
    """Variables and rows; the mode before the first slot stands at time -1 as a constant."""

    def __init__(self, problem: PlanProblem) -> None:
        self.timeline = Timeline.of(problem)
        self.initial_mode = MODE_OF_STATE[problem.state]
        self.highs = highspy.Highs()
        self.highs.setOptionValue("output_flag", False)
        self.highs.setOptionValue("threads", 1)
        self.highs.setOptionValue("mip_rel_gap", 1e-7)
        self.count = 0
        self.idles = list(self.timeline.restarts)
        self.codes = [QUEUE, RUN, *self.idles, DONE]
        self.mode: dict[tuple[int, int], int] = {}
        self.run: dict[tuple[int, int], int] = {}
        self.rest: dict[tuple[int, int], int] = {}
        self.restart: dict[tuple[int, int], int] = {}

    def add(self, high: float, cost: float = 0.0, *, whole: bool = False) -> int:
        self.highs.addVar(0.0, high)
        self.highs.changeColCost(self.count, cost)
        if whole:
            self.highs.changeColIntegrality(self.count, highspy.HighsVarType.kInteger)
        self.count += 1
        return self.count - 1

    def row(self, low: float, high: float, *terms: tuple[float, int]) -> None:
        columns = np.array([column for _, column in terms], np.int32)
        self.highs.addRow(low, high, len(terms), columns, np.array([f for f, _ in terms], float))

    def least(self) -> float | None:
        """Return the least cost; None where there is no plan."""
        for t in range(len(self.timeline)):
            self._variables(t)
        for t in range(len(self.timeline)):
            self._order(t)
            self._restarts(t)
            self._hours(t)
        slots, settings = range(len(self.timeline)), enumerate(self.timeline.speed)
        work_hours = self.timeline.problem.work_hours
        work = [(float(speed), self.run[t, i]) for i, speed in settings for t in slots]
        self.row(work_hours, work_hours, *work)
        self.highs.run()
        if self.highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            return None
        return float(self.highs.getInfo().objective_function_value)

    def _variables(self, t: int) -> None:
        timeline = self.timeline
        weight, hours = float(timeline.base_weight[t]), float(timeline.hours[t])
        for code in self.codes:
            self.mode[t, code] = self.add(1, whole=True)
        for i, kw in enumerate(timeline.power_kw):
            self.run[t, i] = self.add(hours if timeline.allowed[t, i] else 0.0, float(kw) * weight)
        for code in (QUEUE, *self.idles, DONE):
            self.rest[t, code] = self.add(hours, timeline.idle_kw(code) * weight)
        for code in self.idles:
            self.restart[t, code] = self.add(
                1, timeline.idle(code).restart_kwh * weight, whole=True
            )

    def _previous(self, t: int, code: int) -> tuple[float, list[tuple[float, int]]]:
        """Return the mode before a slot as a constant and terms."""
        if t == 0:
            return float(self.initial_mode == code), []
        return 0.0, [(1.0, self.mode[t - 1, code])]

    def _order(self, t: int) -> None:
        self.row(1, 1, *((1.0, self.mode[t, code]) for code in self.codes))
        may_follow = {
            QUEUE: [QUEUE], RUN: [QUEUE, RUN, *self.idles], PAUSE: [RUN, PAUSE],
            RELEASE: [RUN, *self.idles], DONE: [RUN, DONE],
        }  # fmt: skip
        for code in self.codes:
            previous_codes = [previous for previous in may_follow[code] if previous in self.codes]
            parts = [self._previous(t, previous) for previous in previous_codes]
            terms = [(-factor, column) for _, part in parts for factor, column in part]
            self.row(-ENDLESS, sum(c for c, _ in parts), (1.0, self.mode[t, code]), *terms)
            if t == len(self.timeline) - 1 and code in (QUEUE, *self.idles):
                self.row(0, 0, (1.0, self.mode[t, code]))

    def _restarts(self, t: int) -> None:
        for code in self.idles:
            constant, terms_before = self._previous(t, code)
            restart, runs = (1.0, self.restart[t, code]), (-1.0, self.mode[t, RUN])
            minus = [(-factor, column) for factor, column in terms_before]
            self.row(constant - 1, ENDLESS, restart, runs, *minus)
            self.row(-ENDLESS, 0, restart, runs)
            self.row(-ENDLESS, constant, restart, *minus)

    def _hours(self, t: int) -> None:
        timeline = self.timeline
        hours = float(timeline.hours[t])
        runs = [(1.0, self.run[t, i]) for i in range(len(timeline.power_settings))]
        rests = [(1.0, self.rest[t, code]) for code in (QUEUE, *self.idles, DONE)]
        lost = [
            (timeline.idle(code).restart_s / 3600, self.restart[t, code]) for code in self.idles
        ]
        self.row(hours, hours, *runs, *rests, *lost)
        self.row(-ENDLESS, 0, *runs, (-hours, self.mode[t, RUN]))
        last = t == len(timeline) - 1
        for code in (QUEUE, *self.idles, DONE):
            constant, terms_before = self._previous(t, code) if code != DONE else (0.0, [])
            terms = [(-hours * factor, column) for factor, column in terms_before]
            if code != QUEUE and not last:
                terms.append((-hours, self.mode[t + 1, code]))
            free = hours * (constant + float(last and code == DONE))
            self.row(
                -ENDLESS, free, (1.0, self.rest[t, code]), (-hours, self.mode[t, code]), *terms
            )


def least_cost(problem: PlanProblem) -> float | None:
    """Return the exact least objective of a problem; None where there is no plan."""
    return Programme(problem).least()
