"""Follows a run's plan in any framework; measures first what the plan is made from."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.control.actions import Action, Pause, Power, Stop, Train
from carbon_trainer.control.pausing import PauseState
from carbon_trainer.control.plan_follower import (
    Constraints,
    Directive,
    PlanFollower,
    RunAction,
    RunState,
)
from carbon_trainer.control.shifting_facts import (
    budgets_left,
    constraints_of,
    levels_fact,
    levels_key,
    plan_fact,
)
from carbon_trainer.durations import ns_of, time_of
from carbon_trainer.errors import InputError
from carbon_trainer.grid.series import iso
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.planning.plan import Plan
from carbon_trainer.power.profile import (
    IDLE_S,
    IDLE_SETTLE_S,
    PowerProfile,
    PowerProfileCache,
    PowerProfiler,
)
from carbon_trainer.power.throttle import Throttle
from carbon_trainer.runs.outcome import RELEASED_STATUS, Outcome, asked_to_resume
from carbon_trainer.runs.session import RunSession

NO_END = "a deadline needs a training with an end: give it max_steps"
"""What is wrong where a plan is to be made and nobody knows how many steps there are."""

DIRECTIVE_INTERVAL_NS = NS_PER_S // 2
"""How often the plan is asked for a directive while training."""


class PlanController:
    """Decides when a run trains, at which power, and when it pauses or releases its machine.

    In the first minutes each power setting is measured in training itself, unless a run of the
    same kind has done so before. On the rank that records.

    Args:
        session: the run's record; its config has a deadline.
        pause: counts how long the run has paused.
        kind: what decides power and speed beside devices and mechanism: model, batch, precision.
        throttle: turns power down; None where that is not wanted.
        round_steps: steps after which their costs repeat, for trainers whose steps differ.
        executor: where plans are made; a thread of its own by default.
        remeasure: measure power settings even where an earlier run has.

    Raises:
        InputError: if the deadline is not a valid time.
    """

    def __init__(
        self,
        session: RunSession,
        pause: PauseState,
        kind: Mapping[str, str | float | None],
        throttle: Throttle | None,
        *,
        round_steps: int = 1,
        executor: Executor | None = None,
        remeasure: bool = False,
    ) -> None:
        config = session.config
        self._session = session
        self._pause = pause
        self._throttle = throttle
        self._round_steps = round_steps
        self._executor = executor
        self._remeasure = remeasure
        deadline_ns = ns_of(time_of(config.deadline or "", "--deadline"))
        self._constraints: Constraints | None = constraints_of(session, deadline_ns)
        self._cache = PowerProfileCache(config.runs_dir / "cache" / "levels")
        self._key = levels_key(session, kind, throttle)
        self._follower: PlanFollower | None = None
        self._profiler: PowerProfiler | None = None
        self._disturbed = True
        self._next_directive_ns = 0
        self._idle_from: tuple[int, int] | None = None
        self._idle_ns = 0

    @property
    def plan(self) -> Plan | None:
        """The plan that is followed; None before there is one."""
        return None if self._follower is None else self._follower.plan

    @property
    def has_measured(self) -> bool:
        """Whether it has measured the power settings, or found that it cannot."""
        return self._follower is not None or self._constraints is None

    def step_end(self, *, disturbed: bool) -> None:
        """Take note that an optimizer step has ended.

        Args:
            disturbed: something else took place since the step before, such as a validation.
        """
        self._disturbed |= disturbed

    def propose(self, steps_left: int | None) -> Action | None:
        """Follow the plan; measure first what it is made from. None for going on.

        Args:
            steps_left: optimizer steps to do; None where that is not known.

        Raises:
            InputError: if the steps to do are not known.
        """
        if self._constraints is None:
            return None
        if steps_left is None:
            raise InputError(NO_END)
        session, pause = self._session, self._pause
        now_ns = session.clock.now_ns()
        if self._follower is None:
            return self._prepare(now_ns)
        if now_ns < self._next_directive_ns and not pause.is_paused:
            return None
        self._next_directive_ns = now_ns + DIRECTIVE_INTERVAL_NS
        if pause.is_paused and asked_to_resume(session.run_dir):
            session.record(Decision(decision="resume now", why="it was asked to resume now"))
            self._follower.resume_now(session.waiting_until_ns or now_ns)
        state = RunState(now_ns, steps_left, pause.total_ns(now_ns), budgets_left(session))
        return self._action(self._follower.next_directive(state), now_ns)

    def close(self) -> None:
        """End the planner's thread."""
        if self._follower is not None:
            self._follower.close()

    # Inside

    def _action(self, directive: Directive, now_ns: int) -> Action | None:
        session = self._session
        if directive.action is RunAction.RELEASE:
            return self._release(directive, now_ns)
        if directive.action is RunAction.PAUSE:
            if self._pause.is_paused:
                session.waiting_until_ns = directive.until_ns
                return None
            session.notify(
                f"pausing until {iso(directive.until_ns)}: {directive.why}. To resume now: "
                f"carbon-train runs resume-now {session.run_id}"
            )
            return Pause(directive.until_ns, directive.why)
        if self._pause.is_paused:
            session.notify(f"resuming: {directive.why}")
            return Train(directive.why)
        return self._power(directive.power_fraction)

    def _release(self, directive: Directive, now_ns: int) -> Stop:
        # The time until it comes back counts as paused, and a checkpoint must know of that.
        self._pause.paused_ns += max(0, directive.until_ns - now_ns)
        reason = f"released until {iso(directive.until_ns)}: {directive.why}"
        self._session.notify(reason)
        outcome = Outcome("released", RELEASED_STATUS, reason)
        return Stop(outcome, {"until_ns": directive.until_ns})

    def _power(self, power_fraction: float) -> Power | None:
        throttle = self._throttle
        if throttle is None or throttle.power_fraction == power_fraction:
            return None
        return Power(power_fraction, throttle.mechanism)

    def _prepare(self, now_ns: int) -> Action | None:
        """Find the profile of the power settings, or measure it, and begin to plan."""
        session = self._session
        if self._profiler is None:
            throttle = self._throttle
            power_fractions = throttle.power_fractions if throttle is not None else (1.0,)
            mechanism = throttle.mechanism if throttle is not None else "none"
            self._profiler = PowerProfiler(mechanism, power_fractions, self._round_steps)
            cached = None if self._remeasure else self._cache.get(self._key)
            if cached is not None:
                session.notify("power settings and their speed are known from an earlier run")
                self._begin(cached)
                return None
            session.notify(f"measuring {len(power_fractions)} power settings, a few steps each")
        profiler = self._profiler
        if self._pause.is_paused:
            return self._measure_idle(profiler, now_ns)
        if self._disturbed:
            profiler.discard_current()
        self._disturbed = False
        profiler.on_step_end(now_ns, session.used_mj(), session.step)
        if profiler.wants_idle:
            self._idle_from = None
            self._idle_ns = now_ns + round(IDLE_SETTLE_S * NS_PER_S)
            return Pause(
                self._idle_ns + round(IDLE_S * NS_PER_S), "to measure the power of a pause"
            )
        return self._power(profiler.power_fraction)

    def _measure_idle(self, profiler: PowerProfiler, now_ns: int) -> Train | None:
        used_mj = self._session.used_mj()
        if self._idle_from is None:
            if now_ns >= self._idle_ns:
                self._idle_from = now_ns, used_mj
            return None
        since_s = (now_ns - self._idle_from[0]) / NS_PER_S
        if since_s < IDLE_S:
            return None
        profiler.record_idle(since_s, used_mj - self._idle_from[1])
        profile = profiler.profile(now_ns)
        self._cache.put(self._key, profile)
        self._begin(profile)
        return Train("the power of a pause is measured")

    def _begin(self, profile: PowerProfile) -> None:
        session, constraints = self._session, self._constraints
        forecasts = session.forecasts
        if constraints is None or forecasts is None:
            return
        if profile.full.power_w <= 0:
            self._constraints = None
            session.notify("no device's energy can be read here, so nothing can be planned")
            return
        session.record(levels_fact(profile))

        def notify(sentence: str) -> None:
            session.notify(sentence)
            session.record(Decision(decision="schedule", why=sentence))

        def record_plan(plan: Plan, at_once: Plan) -> None:
            session.record(plan_fact(session, plan, at_once))

        self._follower = PlanFollower(
            constraints,
            profile,
            forecasts.newest,
            notify=notify,
            on_plan=record_plan,
            executor=self._executor,
        )
