"""Follows a run's plan, whichever framework trains it: power settings are measured, then obeyed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.control.actions import Action, Pause, Power, Stop, Train
from carbon_trainer.control.pausing import Driver
from carbon_trainer.control.plan_follower import (
    Constraints,
    Directive,
    RunAction,
    RunState,
    Schedule,
)
from carbon_trainer.control.shifting_facts import (
    budgets_left,
    constraints_of,
    levels_fact,
    levels_key,
    plan_fact,
)
from carbon_trainer.durations import ns_of, time_of
from carbon_trainer.grid.series import iso
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.planning.plan import Plan
from carbon_trainer.power.levels import (
    IDLE_S,
    IDLE_SETTLE_S,
    PowerProfile,
    PowerProfileCache,
    PowerProfiler,
)
from carbon_trainer.power.throttle import Throttle
from carbon_trainer.runs.outcome import RELEASED_STATUS, Outcome, asked_to_resume
from carbon_trainer.runs.session import RunSession

LOOK_NS = NS_PER_S // 2
"""How often the schedule is asked while training."""


class PlanController:
    """Says when a run trains, at which power, and when it waits or makes room.

    In the first minutes each power setting is measured in training itself, unless a run of the
    same kind has done so before. On the rank that records.

    Args:
        driver: the training that is shifted.
        session: its record; its config has a deadline.
        kind: what decides power and speed beside devices and mechanism: model, batch, precision.
        throttle: turns power down; None where that is not wanted.
        round_steps: steps after which their costs repeat, for trainers whose steps differ.
        executor: where plans are made; a thread of its own by default.
        anew: measure power settings even where a run before has.

    Raises:
        InputError: if the deadline is none.
    """

    def __init__(
        self,
        driver: Driver,
        session: RunSession,
        kind: Mapping[str, str | float | None],
        throttle: Throttle | None,
        *,
        round_steps: int = 1,
        executor: Executor | None = None,
        anew: bool = False,
    ) -> None:
        config = session.config
        self._driver = driver
        self._session = session
        self._throttle = throttle
        self._round_steps = round_steps
        self._executor = executor
        self._anew = anew
        deadline_ns = ns_of(time_of(config.deadline or "", "--deadline"))
        self._terms: Constraints | None = constraints_of(session, deadline_ns)
        self._cache = PowerProfileCache(config.runs_dir / "cache" / "levels")
        self._key = levels_key(session, kind, throttle)
        self._schedule: Schedule | None = None
        self._profiler: PowerProfiler | None = None
        self._disturbed = True
        self._next_look_ns = 0
        self._idle_from: tuple[int, int] | None = None
        self._idle_ns = 0

    @property
    def plan(self) -> Plan | None:
        """The plan that is followed; None before there is one."""
        return None if self._schedule is None else self._schedule.plan

    @property
    def has_measured(self) -> bool:
        """Whether it has measured the power settings, or found that it cannot."""
        return self._schedule is not None or self._terms is None

    def step_done(self, *, disturbed: bool) -> None:
        """An optimizer step has ended.

        Args:
            disturbed: something else took place since the step before, such as a validation.
        """
        self._disturbed |= disturbed

    def propose(self, steps_left: Callable[[], int]) -> Action | None:
        """Follow the plan; measure first what it is made from. None for going on.

        Args:
            steps_left: tells the optimizer steps to do.

        Raises:
            InputError: if ``steps_left`` does.
        """
        if self._terms is None:
            return None
        driver, session = self._driver, self._session
        now_ns = session.clock.now_ns()
        if self._schedule is None:
            return self._prepare(now_ns)
        if now_ns < self._next_look_ns and not driver.waiting:
            return None
        self._next_look_ns = now_ns + LOOK_NS
        if driver.waiting and asked_to_resume(session.run_dir):
            session.record(Decision(decision="resume now", why="somebody asked for it"))
            self._schedule.resume_now(session.waiting_until_ns or now_ns)
        position = RunState(
            now_ns, steps_left(), driver.waited_until(now_ns), budgets_left(session)
        )
        return self._action(self._schedule.next_directive(position), now_ns)

    def close(self) -> None:
        """Let go of the planner's thread."""
        if self._schedule is not None:
            self._schedule.close()

    # Inside

    def _action(self, course: Directive, now_ns: int) -> Action | None:
        driver, session = self._driver, self._session
        if course.action is RunAction.RELEASE:
            return self._release(course, now_ns)
        if course.action is RunAction.PAUSE:
            if driver.waiting:
                session.waiting_until_ns = course.until_ns
                return None
            session.notify(
                f"pausing until {iso(course.until_ns)}: {course.why}. To go on now: carbon-train "
                f"runs resume-now {session.run_id}"
            )
            return Pause(course.until_ns, course.why)
        if driver.waiting:
            session.notify(f"going on: {course.why}")
            return Train(course.why)
        return self._power(course.power_fraction)

    def _release(self, course: Directive, now_ns: int) -> Stop:
        # Until it comes back it waits, and a checkpoint must know of that.
        self._driver.waited_ns += max(0, course.until_ns - now_ns)
        reason = f"released until {iso(course.until_ns)}: {course.why}"
        self._session.notify(reason)
        outcome = Outcome("released", RELEASED_STATUS, reason)
        return Stop(outcome, {"until_ns": course.until_ns})

    def _power(self, power_fraction: float) -> Power | None:
        throttle = self._throttle
        if throttle is None or throttle.power_fraction == power_fraction:
            return None
        return Power(power_fraction, throttle.mechanism)

    def _prepare(self, now_ns: int) -> Action | None:
        """Find the power settings' table, or measure it, and begin to plan."""
        session = self._session
        if self._profiler is None:
            throttle = self._throttle
            power_fractions = throttle.power_fractions if throttle is not None else (1.0,)
            mechanism = throttle.mechanism if throttle is not None else "none"
            self._profiler = PowerProfiler(mechanism, power_fractions, self._round_steps)
            known = None if self._anew else self._cache.get(self._key)
            if known is not None:
                session.notify("power settings and their speed are known from a run before")
                self._begin(known)
                return None
            session.notify(f"measuring {len(power_fractions)} power settings, a few steps each")
        profiler = self._profiler
        if self._driver.waiting:
            return self._hold(profiler, now_ns)
        if self._disturbed:
            profiler.discard_current()
        self._disturbed = False
        profiler.on_step_end(now_ns, session.used_mj(), session.step)
        if profiler.wants_idle:
            self._idle_from = None
            self._idle_ns = now_ns + round(IDLE_SETTLE_S * NS_PER_S)
            return Pause(
                self._idle_ns + round(IDLE_S * NS_PER_S), "to measure the power of waiting"
            )
        return self._power(profiler.power_fraction)

    def _hold(self, profiler: PowerProfiler, now_ns: int) -> Train | None:
        used_mj = self._session.used_mj()
        if self._idle_from is None:
            if now_ns >= self._idle_ns:
                self._idle_from = now_ns, used_mj
            return None
        since_s = (now_ns - self._idle_from[0]) / NS_PER_S
        if since_s < IDLE_S:
            return None
        profiler.record_idle(since_s, used_mj - self._idle_from[1])
        table = profiler.profile(now_ns)
        self._cache.put(self._key, table)
        self._begin(table)
        return Train("the power of waiting is measured")

    def _begin(self, table: PowerProfile) -> None:
        session, terms, forecasts = self._session, self._terms, self._session.forecasts
        if terms is None or forecasts is None:
            return
        if table.full.power_w <= 0:
            self._terms = None
            session.notify("no device's energy can be read here, so nothing can be planned")
            return
        session.record(levels_fact(table))

        def say(sentence: str) -> None:
            session.notify(sentence)
            session.record(Decision(decision="schedule", why=sentence))

        def planned(plan: Plan, at_once: Plan) -> None:
            session.record(plan_fact(session, plan, at_once))

        self._schedule = Schedule(
            terms, table, forecasts.newest, say=say, planned=planned, executor=self._executor
        )
