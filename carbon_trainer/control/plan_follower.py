"""What a run does now and until when, by the plan. Knows nothing of Lightning.

It is asked at step boundaries and while the run waits. Plans are made in a thread, so that neither
training nor waiting stands still for one; until the first is there the run trains on.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.grid.series import IntensitySeries, iso
from carbon_trainer.planning.plan import InfeasibleError, Plan, PlanSlot
from carbon_trainer.planning.planner import Decision, Planner, Progress
from carbon_trainer.planning.policies import run_now
from carbon_trainer.planning.problem import (
    NS_PER_H,
    Budgets,
    Idle,
    Mode,
    Objective,
    PlanProblem,
    PowerSetting,
    State,
)
from carbon_trainer.power.profile import PowerProfile

log = logging.getLogger(__name__)

UPDATE_S = 60.0
"""How often progress and forecast are compared with the plan, seconds."""

WORK_MARGIN = 0.02
"""Share by which the work left may be more than its measured speed tells: checkpoints and
validations come beside the steps that were timed. The deadline is kept for that much."""

LEAST_WAIT_S = 30.0
"""Shorter waits are not worth going to: the run trains on through them."""


LEAST_CARBON = Objective()
NO_BUDGETS = Budgets()


class RunAction(StrEnum):
    """What a run does."""

    TRAIN = "train"
    PAUSE = "pause"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Directive:
    """What to do until an instant.

    Attributes:
        action: train, pause or release.
        power_fraction: the power setting while training, as a fraction of the full one.
        until_ns: until when.
        why: for people.
    """

    action: RunAction
    power_fraction: float
    until_ns: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What the schedule has to keep.

    Attributes:
        deadline_ns: when the run must be done.
        objective: what is to be least.
        may_release: whether somebody would bring the run back.
        restart_s: how long coming back after a release takes, seconds, as was measured.
        max_wait_ns: longest wait in all; None for no limit.
        pue: the building's energy over the machines'.
        price: price of electricity over time; None where nothing is paid.
    """

    deadline_ns: int
    objective: Objective = LEAST_CARBON
    may_release: bool = False
    restart_s: float = 60.0
    max_wait_ns: int | None = None
    pue: float = 1.0
    price: IntensitySeries | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """Where the run is.

    Attributes:
        now_ns: now.
        steps_left: optimizer steps to do.
        waited_ns: how long it has waited so far, in all.
        budgets: what is left of its budgets; energy is the building's.
    """

    now_ns: int
    steps_left: int
    waited_ns: int = 0
    budgets: Budgets = NO_BUDGETS


class Schedule:
    """Follows the planner.

    Args:
        terms: what has to be kept.
        table: what each power setting draws and does, as measured.
        forecast: tells the intensity from now to an hour after the deadline.
        say: takes a sentence for people and the record.
        planned: takes the first plan that keeps the deadline, and the one of running at once at
            full power instead.
        executor: where plans are made; a thread of its own by default.
    """

    def __init__(
        self,
        terms: Constraints,
        table: PowerProfile,
        forecast: Callable[[], IntensitySeries],
        *,
        say: Callable[[str], None],
        planned: Callable[[Plan, Plan], None] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._terms = terms
        self._table = table
        self._forecast = forecast
        self._say = say
        self._tell_planned = planned
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="planner")
        self._power_fractions: dict[PowerSetting, float] = {}
        self._planner: Planner | None = None
        self._pending: Future[Decision | None] | None = None
        self._next_update_ns = 0
        self._doing: State = "running"
        self._train_until_ns = 0
        self._told: set[str] = set()
        self.plan: Plan | None = None
        self._exhausted = False
        self.deadline_override = False

    def next_directive(self, position: RunState) -> Directive:
        """Return what to do now."""
        self._update(position)
        course = self._planned(position)
        if course.action is not RunAction.TRAIN and not self._may_wait(course, position):
            self._update(position)
            course = self._planned(position)
            if course.action is not RunAction.TRAIN:
                course = Directive(RunAction.TRAIN, 1.0, course.until_ns, "waiting is over")
        states: dict[RunAction, State] = {
            RunAction.TRAIN: "running", RunAction.PAUSE: "paused", RunAction.RELEASE: "released",
        }  # fmt: skip
        self._doing = states[course.action]
        return course

    def resume_now(self, until_ns: int) -> None:
        """Train, whatever the plan says, until an instant."""
        self._train_until_ns = until_ns

    def measured(self, table: PowerProfile) -> None:
        """Take a table with speeds that were seen since; the next plan is made with it."""
        self._table = table
        self._planner = None
        self._next_update_ns = 0

    def close(self) -> None:
        """Let go of the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    # Inside

    def _may_wait(self, course: Directive, position: RunState) -> bool:
        if position.now_ns < self._train_until_ns:
            return False
        if self._waited_enough(position):
            # The plan is made anew without waiting, at once.
            self._next_update_ns = min(self._next_update_ns, position.now_ns)
            return False
        waiting = self._doing != "running"
        return waiting or course.until_ns - position.now_ns >= LEAST_WAIT_S * NS_PER_S

    def _waited_enough(self, position: RunState) -> bool:
        most_ns = self._terms.max_wait_ns
        return most_ns is not None and position.waited_ns >= most_ns

    def _update(self, position: RunState) -> None:
        if self._pending is not None and self._pending.done():
            self._take(self._pending)
            self._pending = None
        if self._pending is None and position.now_ns >= self._next_update_ns:
            self._next_update_ns = position.now_ns + round(UPDATE_S * NS_PER_S)
            self._pending = self._executor.submit(self._decide, position, self._doing)
            if self._pending.done():
                self._take(self._pending)
                self._pending = None

    def _take(self, future: Future[Decision | None]) -> None:
        try:
            decision = future.result()
        except Exception as error:
            log.debug("planning", exc_info=True)
            self._tell(f"no plan could be made ({type(error).__name__}: {error}), so it trains on")
            self.plan = None
            return
        if decision is None:
            self.plan = None
            return
        if decision.deadline_override and not self.deadline_override:
            self._tell("to keep the deadline it trains at full power from here on")
        self.plan, self.deadline_override = decision.plan, decision.deadline_override

    def _decide(self, position: RunState, state: State) -> Decision | None:
        forecast = self._forecast()
        if position.now_ns >= self._terms.deadline_ns:
            self._tell(
                f"the deadline {iso(self._terms.deadline_ns)} has passed, so it trains at full "
                "power to its end"
            )
            return None
        if self._waited_enough(position) and not self._exhausted:
            self._exhausted = True
            self._planner = None
            self._tell("it has waited as long as it may (--max-wait), so it trains on")
        hours = position.steps_left / self._table.full.steps_per_s / 3600
        progress = Progress(hours, hours * (1 + WORK_MARGIN), state)
        if self._planner is None:
            problem = self._problem(position, hours, state, forecast)
            self._planner = Planner(problem, update_every_s=UPDATE_S)
        try:
            decision = self._planner.update(position.now_ns, progress, forecast, position.budgets)
        except InfeasibleError as error:
            self._tell(f"{str(error).rstrip('.')}; it trains until the budget ends it")
            decision = self._planner.update(position.now_ns, progress, forecast, Budgets())
        self._tell_first(decision, self._problem(position, hours, state, forecast))
        return decision

    def _tell_first(self, decision: Decision, problem: PlanProblem) -> None:
        """Tell the first plan that keeps the deadline, and what it is to be held against."""
        if self._tell_planned is None:
            return
        try:
            # Whatever the budgets are: what did not happen cannot have kept to them.
            at_once = run_now(dataclasses.replace(problem, budgets=NO_BUDGETS))
        except InfeasibleError:
            # Even at full power the work does not fit: there is nothing to shift or to save.
            return
        self._tell_planned(decision.plan, at_once)
        self._tell_planned = None

    def _problem(
        self, position: RunState, hours: float, state: State, forecast: IntensitySeries
    ) -> PlanProblem:
        terms, table = self._terms, self._table
        self._power_fractions = {}
        for one in table.settings:
            setting = PowerSetting(
                one.power_w * terms.pue, one.steps_per_s / table.full.steps_per_s
            )
            self._power_fractions[setting] = one.power_fraction
        restart_kwh = table.full.power_w * terms.pue * terms.restart_s / 3.6e6
        may_wait = not self._exhausted
        may_release = may_wait and terms.may_release
        return PlanProblem(
            now_ns=position.now_ns,
            deadline_ns=terms.deadline_ns,
            work_hours=max(hours, 1e-6),
            power_settings=tuple(self._power_fractions),
            intensity=forecast,
            pause=Idle(table.idle_w * terms.pue) if may_wait else None,
            release=Idle(0.0, terms.restart_s, restart_kwh) if may_release else None,
            price=terms.price,
            objective=terms.objective,
            budgets=position.budgets,
            state=state,
        )

    def _planned(self, position: RunState) -> Directive:
        plan, now_ns = self.plan, position.now_ns
        if plan is None or now_ns >= plan.finish_ns:
            return Directive(RunAction.TRAIN, 1.0, now_ns + NS_PER_S, "there is no plan")
        slot = plan.at(now_ns)
        if slot.mode in (Mode.PAUSE, Mode.RELEASE):
            return self._wait(plan, slot, now_ns)
        power_fraction = (
            1.0
            if slot.power_setting is None
            else self._power_fractions.get(slot.power_setting, 1.0)
        )
        return Directive(RunAction.TRAIN, power_fraction, slot.end_ns, "the plan")

    def _wait(self, plan: Plan, slot: PlanSlot, now_ns: int) -> Directive:
        """Join the idle slots that follow into one wait."""
        later = [each for each in plan.slots if each.end_ns > now_ns]
        until_ns = slot.end_ns
        for each in later:
            if each.mode not in (Mode.PAUSE, Mode.RELEASE):
                break
            until_ns = each.end_ns
        do = RunAction.PAUSE if slot.mode is Mode.PAUSE else RunAction.RELEASE
        return Directive(do, 1.0, until_ns, self._reason(now_ns, until_ns))

    def _reason(self, now_ns: int, until_ns: int) -> str:
        forecast = self._forecast()
        if not forecast.covers(now_ns, until_ns + NS_PER_H):
            return "the plan waits"
        waits = forecast.mean(now_ns, until_ns)
        then = forecast.mean(until_ns, until_ns + NS_PER_H)
        return f"the grid is expected at {then:.0f} gCO2e/kWh then, {waits:.0f} until then"

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._say(sentence)
