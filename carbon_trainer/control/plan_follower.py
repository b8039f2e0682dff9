"""What a run does now and until when, by the plan. Knows nothing of Lightning.

It is asked at step boundaries and while the run waits. Plans are made in a thread, so that neither
training nor a pause is held up by one; until the first is there the run trains on.
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
"""Share by which the work left may exceed what its measured speed predicts: checkpoints and
validations come beside the steps that were timed. The deadline is kept for that much."""

MIN_WAIT_S = 30.0
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


class PlanFollower:
    """Follows the planner.

    Args:
        constraints: what has to be kept.
        profile: what each power setting draws and does, as measured.
        forecast: returns the intensity from now to an hour after the deadline.
        notify: takes a sentence for people and the record.
        on_plan: takes the first plan that keeps the deadline, and the one of running at once at
            full power instead.
        executor: where plans are made; a thread of its own by default.
    """

    def __init__(
        self,
        constraints: Constraints,
        profile: PowerProfile,
        forecast: Callable[[], IntensitySeries],
        *,
        notify: Callable[[str], None],
        on_plan: Callable[[Plan, Plan], None] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._constraints = constraints
        self._profile = profile
        self._forecast = forecast
        self._notify = notify
        self._on_plan = on_plan
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="planner")
        self._power_fractions: dict[PowerSetting, float] = {}
        self._planner: Planner | None = None
        self._pending: Future[Decision | None] | None = None
        self._next_update_ns = 0
        self._state: State = "running"
        self._train_until_ns = 0
        self._notices: set[str] = set()
        self.plan: Plan | None = None
        self._exhausted = False
        self.deadline_override = False

    def next_directive(self, run_state: RunState) -> Directive:
        """Return what to do now."""
        self._update(run_state)
        directive = self._directive(run_state)
        if directive.action is not RunAction.TRAIN and not self._may_wait(directive, run_state):
            self._update(run_state)
            directive = self._directive(run_state)
            if directive.action is not RunAction.TRAIN:
                directive = Directive(RunAction.TRAIN, 1.0, directive.until_ns, "waiting is over")
        states: dict[RunAction, State] = {
            RunAction.TRAIN: "running", RunAction.PAUSE: "paused", RunAction.RELEASE: "released",
        }  # fmt: skip
        self._state = states[directive.action]
        return directive

    def resume_now(self, until_ns: int) -> None:
        """Train, whatever the plan says, until an instant."""
        self._train_until_ns = until_ns

    def close(self) -> None:
        """End the planner's thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    # Inside

    def _may_wait(self, directive: Directive, run_state: RunState) -> bool:
        if run_state.now_ns < self._train_until_ns:
            return False
        if self._has_waited_enough(run_state):
            # A plan without waiting is made at once.
            self._next_update_ns = min(self._next_update_ns, run_state.now_ns)
            return False
        return (
            self._state != "running"
            or directive.until_ns - run_state.now_ns >= MIN_WAIT_S * NS_PER_S
        )

    def _has_waited_enough(self, run_state: RunState) -> bool:
        max_wait_ns = self._constraints.max_wait_ns
        return max_wait_ns is not None and run_state.waited_ns >= max_wait_ns

    def _update(self, run_state: RunState) -> None:
        if self._pending is not None and self._pending.done():
            self._accept(self._pending)
            self._pending = None
        if self._pending is None and run_state.now_ns >= self._next_update_ns:
            self._next_update_ns = run_state.now_ns + round(UPDATE_S * NS_PER_S)
            self._pending = self._executor.submit(self._decide, run_state, self._state)
            if self._pending.done():
                self._accept(self._pending)
                self._pending = None

    def _accept(self, future: Future[Decision | None]) -> None:
        try:
            decision = future.result()
        except Exception as error:
            log.debug("planning", exc_info=True)
            self._notify_once(
                f"no plan could be made ({type(error).__name__}: {error}), so it trains on"
            )
            self.plan = None
            return
        if decision is None:
            self.plan = None
            return
        if decision.deadline_override and not self.deadline_override:
            self._notify_once("to keep the deadline it trains at full power from here on")
        self.plan, self.deadline_override = decision.plan, decision.deadline_override

    def _decide(self, run_state: RunState, state: State) -> Decision | None:
        forecast = self._forecast()
        if run_state.now_ns >= self._constraints.deadline_ns:
            self._notify_once(
                f"the deadline {iso(self._constraints.deadline_ns)} has passed, so it trains at "
                "full power to its end"
            )
            return None
        if self._has_waited_enough(run_state) and not self._exhausted:
            self._exhausted = True
            self._planner = None
            self._notify_once("it has waited as long as it may (--max-wait), so it trains on")
        hours = run_state.steps_left / self._profile.full.steps_per_s / 3600
        progress = Progress(hours, hours * (1 + WORK_MARGIN), state)
        if self._planner is None:
            problem = self._problem(run_state, hours, state, forecast)
            self._planner = Planner(problem, update_every_s=UPDATE_S)
        try:
            decision = self._planner.update(run_state.now_ns, progress, forecast, run_state.budgets)
        except InfeasibleError as error:
            self._notify_once(f"{str(error).rstrip('.')}; it trains until the budget ends it")
            decision = self._planner.update(run_state.now_ns, progress, forecast, Budgets())
        self._report_first_plan(decision, self._problem(run_state, hours, state, forecast))
        return decision

    def _report_first_plan(self, decision: Decision, problem: PlanProblem) -> None:
        """Report the first plan that keeps the deadline, and what it is compared with."""
        if self._on_plan is None:
            return
        try:
            # Whatever the budgets are: what did not happen cannot have kept to them.
            at_once = run_now(dataclasses.replace(problem, budgets=NO_BUDGETS))
        except InfeasibleError:
            # Even at full power the work does not fit: there is nothing to shift or to save.
            return
        self._on_plan(decision.plan, at_once)
        self._on_plan = None

    def _problem(
        self, run_state: RunState, hours: float, state: State, forecast: IntensitySeries
    ) -> PlanProblem:
        constraints, profile = self._constraints, self._profile
        self._power_fractions = {}
        for entry in profile.settings:
            setting = PowerSetting(
                entry.power_w * constraints.pue, entry.steps_per_s / profile.full.steps_per_s
            )
            self._power_fractions[setting] = entry.power_fraction
        restart_kwh = profile.full.power_w * constraints.pue * constraints.restart_s / 3.6e6
        may_wait = not self._exhausted
        may_release = may_wait and constraints.may_release
        return PlanProblem(
            now_ns=run_state.now_ns,
            deadline_ns=constraints.deadline_ns,
            work_hours=max(hours, 1e-6),
            power_settings=tuple(self._power_fractions),
            intensity=forecast,
            pause=Idle(profile.idle_w * constraints.pue) if may_wait else None,
            release=Idle(0.0, constraints.restart_s, restart_kwh) if may_release else None,
            price=constraints.price,
            objective=constraints.objective,
            budgets=run_state.budgets,
            state=state,
        )

    def _directive(self, run_state: RunState) -> Directive:
        plan, now_ns = self.plan, run_state.now_ns
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
        slots = [next_slot for next_slot in plan.slots if next_slot.end_ns > now_ns]
        until_ns = slot.end_ns
        for next_slot in slots:
            if next_slot.mode not in (Mode.PAUSE, Mode.RELEASE):
                break
            until_ns = next_slot.end_ns
        do = RunAction.PAUSE if slot.mode is Mode.PAUSE else RunAction.RELEASE
        return Directive(do, 1.0, until_ns, self._reason(now_ns, until_ns))

    def _reason(self, now_ns: int, until_ns: int) -> str:
        forecast = self._forecast()
        if not forecast.covers(now_ns, until_ns + NS_PER_H):
            return "the plan waits"
        waits = forecast.mean(now_ns, until_ns)
        later_mean = forecast.mean(until_ns, until_ns + NS_PER_H)
        return f"the grid is expected at {later_mean:.0f} gCO2e/kWh then, {waits:.0f} until then"

    def _notify_once(self, sentence: str) -> None:
        if sentence not in self._notices:
            self._notices.add(sentence)
            self._notify(sentence)
