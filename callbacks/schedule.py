"""CarbonSchedule: when the run trains, at which power, and when it waits or makes room."""

from __future__ import annotations

import os
import time
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.agreement import Action, Pause, Power, Stop, Train
from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.throttle import PowerThrottle
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.data.shares import share_of
from carbon_trainer.errors import InputError
from carbon_trainer.grid.series import IntensitySeries, SeriesInfo, iso
from carbon_trainer.ledger.facts import Decision, LevelsMeasured
from carbon_trainer.planning.plan import Plan
from carbon_trainer.planning.problem import Budgets, Objective
from carbon_trainer.power.levels import (
    IDLE_S,
    IDLE_SETTLE_S,
    LevelCache,
    LevelMeter,
    LevelTable,
    key_of,
)
from carbon_trainer.recovery import process_started
from carbon_trainer.schedule import Course, Do, Position, Schedule, Terms
from carbon_trainer.session import (
    RELEASED_STATUS,
    SUPERVISED,
    Outcome,
    RunSession,
    asked_to_resume,
)
from carbon_trainer.times import duration_ns, ns_of, time_of

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lead import Lead

LOOK_NS = NS_PER_S // 2
"""How often the schedule is asked while training."""


class CarbonSchedule(CarbonCallback):
    """Shifts and throttles a run, so that it emits or costs least and keeps its deadline.

    In the first minutes each power setting is measured in training itself, unless a run of the
    same model, batch and devices has done so before.

    Args:
        deadline: when the run must be done: ``3d`` or an instant.
        zone: the grid.
        provider: whom to ask for its forecast; the zone's usual course by default.
        trace: a CSV of its intensity, instead.
        objective: ``carbon``, ``cost`` or ``blend``.
        carbon_price: price of a tonne, for ``blend``.
        price_per_kwh: price of electricity.
        max_wait: longest wait in all.
        release: whether it may exit and be started again.
        session: a run that somebody else opened; None to open one for each fit.
        executor: where plans are made; a thread of its own by default.
        anew: measure power settings even where a run before has.

    Raises:
        InputError: if a setting does not fit.
    """

    def __init__(
        self,
        deadline: str | None = None,
        *,
        zone: str | None = None,
        provider: str | None = None,
        trace: str | Path | None = None,
        objective: str | None = None,
        carbon_price: float | None = None,
        price_per_kwh: float | None = None,
        max_wait: str | None = None,
        release: str | None = None,
        session: RunSession | None = None,
        executor: Executor | None = None,
        anew: bool = False,
    ) -> None:
        super().__init__(
            session=session,
            deadline=deadline,
            zone=zone,
            provider=provider,
            trace=trace,
            objective=objective,
            carbon_price=carbon_price,
            price_per_kwh=price_per_kwh,
            max_wait=max_wait,
            release=release,
        )
        self._executor = executor
        self._anew = anew
        self._schedule: Schedule | None = None
        self._terms: Terms | None = None
        self._meter: LevelMeter | None = None
        self._throttle: PowerThrottle | None = None
        self._cache: LevelCache | None = None
        self._key = ""
        self._next_look_ns = 0
        self._idle_from: tuple[int, int] | None = None
        self._idle_ns = 0

    def began(self, lead: Lead, trainer: Trainer) -> None:
        """Learn what has to be kept."""
        session = lead.session
        config = session.config
        self._schedule = self._meter = self._terms = self._idle_from = None
        self._next_look_ns = 0
        if config.deadline is None:
            return
        deadline_ns = ns_of(time_of(config.deadline, "--deadline"))
        self._throttle = next((p for p in lead.parts if isinstance(p, PowerThrottle)), None)
        self._terms = _terms(session, deadline_ns)
        self._cache = LevelCache(config.runs_dir / "cache" / "levels")
        self._key = _key(session, trainer, self._throttle)

    def propose(self, lead: Lead, trainer: Trainer, batch_index: int) -> Action | None:
        """Follow the plan; measure first what it is made from."""
        if self._terms is None or trainer.should_stop:
            return None
        session = lead.session
        now_ns = session.clock.now_ns()
        if self._schedule is None:
            return self._prepare(lead, now_ns)
        if now_ns < self._next_look_ns and not lead.waiting:
            return None
        self._next_look_ns = now_ns + LOOK_NS
        if lead.waiting and asked_to_resume(session.run_dir):
            session.put(Decision(decision="resume now", why="somebody asked for it"))
            self._schedule.resume_now(session.waiting_until_ns or now_ns)
        position = Position(
            now_ns, self._steps_left(trainer), lead.waited_until(now_ns), _left(session)
        )
        return self._action(lead, self._schedule.course(position), now_ns)

    def left(self) -> None:
        """Let go of the planner's thread."""
        if self._schedule is not None:
            self._schedule.close()

    @property
    def has_measured(self) -> bool:
        """Whether it has measured the power settings, or found that it cannot."""
        return self._schedule is not None or self._terms is None

    # Inside

    def _steps_left(self, trainer: Trainer) -> int:
        """Return the optimizer steps to do.

        Raises:
            InputError: if the trainer would go on for ever.
        """
        total: float = trainer.max_steps
        if total <= 0:
            total = trainer.estimated_stepping_batches
        if total == float("inf"):
            raise InputError("a deadline needs a trainer with an end: give it max_steps")
        return max(0, int(total) - trainer.global_step)

    def _action(self, lead: Lead, course: Course, now_ns: int) -> Action | None:
        session = lead.session
        if course.do is Do.RELEASE:
            return self._release(lead, course, now_ns)
        if course.do is Do.PAUSE:
            if lead.waiting:
                session.waiting_until_ns = course.until_ns
                return None
            session.say(
                f"pausing until {iso(course.until_ns)}: {course.why}. To go on now: carbon-train "
                f"runs resume-now {session.run_id}"
            )
            return Pause(course.until_ns, course.why)
        if lead.waiting:
            session.say(f"going on: {course.why}")
            return Train(course.why)
        return self._power(course.share)

    def _release(self, lead: Lead, course: Course, now_ns: int) -> Stop:
        # Until it comes back it waits, and a checkpoint must know of that.
        lead.waited_ns += max(0, course.until_ns - now_ns)
        reason = f"released until {iso(course.until_ns)}: {course.why}"
        lead.session.say(reason)
        outcome = Outcome("released", RELEASED_STATUS, reason)
        return Stop(outcome, {"until_ns": course.until_ns})

    def _power(self, share: float) -> Power | None:
        throttle = self._throttle.throttle if self._throttle is not None else None
        if throttle is None or throttle.share == share:
            return None
        return Power(share, throttle.means)

    def _prepare(self, lead: Lead, now_ns: int) -> Action | None:
        """Find the power settings' table, or measure it, and begin to plan."""
        session = lead.session
        if self._meter is None:
            means = self._throttle.throttle if self._throttle is not None else None
            shares = means.shares if means is not None else (1.0,)
            self._meter = LevelMeter(means.means if means is not None else "none", shares)
            known = None if self._anew else self._cached()
            if known is not None:
                session.say("power settings and their speed are known from a run before")
                self._begin(session, known)
                return None
            session.say(f"measuring {len(shares)} power settings, a few steps each")
        meter = self._meter
        if lead.waiting:
            return self._stand_still(meter, session, now_ns)
        if lead.disturbed:
            meter.disturbed()
        else:
            meter.step_done(now_ns, session.used_mj(), session.step)
        if meter.wants_idle:
            self._idle_from = None
            self._idle_ns = now_ns + round(IDLE_SETTLE_S * NS_PER_S)
            return Pause(
                self._idle_ns + round(IDLE_S * NS_PER_S), "to measure the power of waiting"
            )
        return self._power(meter.share)

    def _cached(self) -> LevelTable | None:
        return self._cache.get(self._key) if self._cache is not None else None

    def _stand_still(self, meter: LevelMeter, session: RunSession, now_ns: int) -> Train | None:
        used_mj = session.used_mj()
        if self._idle_from is None:
            if now_ns >= self._idle_ns:
                self._idle_from = now_ns, used_mj
            return None
        since_s = (now_ns - self._idle_from[0]) / NS_PER_S
        if since_s < IDLE_S:
            return None
        meter.stood_still(since_s, used_mj - self._idle_from[1])
        table = meter.table(now_ns)
        if self._cache is not None:
            self._cache.put(self._key, table)
        self._begin(session, table)
        return Train("the power of waiting is measured")

    def _begin(self, session: RunSession, table: LevelTable) -> None:
        terms, forecasts = self._terms, session.forecasts
        if terms is None or forecasts is None:
            return
        if table.full.power_w <= 0:
            self._terms = None
            session.say("no device's energy can be read here, so nothing can be planned")
            return
        session.put(
            LevelsMeasured(
                means=table.means,
                levels=[
                    {
                        "share": one.share,
                        "power_w": one.power_w,
                        "steps_per_s": one.steps_per_s,
                        "steps": one.steps,
                        "seconds": one.seconds,
                    }
                    for one in table.levels
                ],
                idle_w=table.idle_w,
                measured_at_ns=table.measured_at_ns,
            )
        )

        def say(sentence: str) -> None:
            session.say(sentence)
            session.put(Decision(decision="schedule", why=sentence))

        def planned(plan: Plan, at_once: Plan) -> None:
            session.put(_plan_fact(session, plan, at_once))

        self._schedule = Schedule(
            terms, table, forecasts.newest, say=say, planned=planned, executor=self._executor
        )


def _plan_fact(session: RunSession, plan: Plan, at_once: Plan) -> Decision:
    """Write down what is expected, so that the report can hold it against what came."""
    return Decision(
        decision="plan",
        why=f"by this plan the run is done at {iso(plan.finish_ns)}, by running at once and at "
        f"full power at {iso(at_once.finish_ns)}",
        figures={
            "made_ns": session.clock.now_ns(),
            "before_mj": session.used_mj(),
            "planned_kwh": plan.energy_kwh,
            "planned_kgco2e": plan.emissions_gco2e / 1000,
            "planned_finish_ns": plan.finish_ns,
            "at_once_kwh": at_once.energy_kwh,
            "at_once_kgco2e": at_once.emissions_gco2e / 1000,
            "at_once_start_ns": at_once.slots[0].start_ns if at_once.slots else plan.finish_ns,
            "at_once_finish_ns": at_once.finish_ns,
        },
    )


def _terms(session: RunSession, deadline_ns: int) -> Terms:
    config = session.config
    if config.objective == "carbon":
        objective = Objective()
    else:
        per_gram = (config.carbon_price or 0.0) / 1e6 if config.objective == "blend" else 0.0
        objective = Objective(per_gram, 1.0)
    now_ns = session.clock.now_ns()
    may_release = config.release == "yes" or (
        config.release == "auto" and bool(os.environ.get(SUPERVISED))
    )
    wait = config.max_wait
    return Terms(
        deadline_ns=deadline_ns,
        objective=objective,
        may_release=may_release,
        # What a start has taken until here, imports and data included, a restart takes again.
        restart_s=max(1.0, time.time() - process_started(os.getpid())) if may_release else 0.0,
        max_wait_ns=None if wait is None else duration_ns(wait, "--max-wait"),
        pue=config.pue,
        price=_price(config.price_per_kwh, now_ns, deadline_ns),
    )


def _price(per_kwh: float | None, start_ns: int, deadline_ns: int) -> IntensitySeries | None:
    if per_kwh is None:
        return None
    info = SeriesInfo(
        zone="price", provider="constant", accounting="as given", source="given", licence=""
    )
    until_ns = max(deadline_ns, start_ns) + 3600 * NS_PER_S
    return IntensitySeries.constant(info, per_kwh, start_ns, until_ns)


def _key(session: RunSession, trainer: Trainer, throttle: PowerThrottle | None) -> str:
    config = session.config
    devices = [row.info.label for row in session.meter.summary().devices]
    found = throttle.throttle if throttle is not None else None
    return key_of(
        model=config.model,
        parameters=sum(p.numel() for p in trainer.lightning_module.parameters()),
        batch_size=config.batch_size,
        block_size=config.block_size,
        accumulate=trainer.accumulate_grad_batches,
        precision=str(trainer.precision),
        ranks=trainer.world_size,
        strategy=_strategy(trainer),
        devices=sorted(devices),
        means=found.means if found is not None else None,
        full=found.text(1.0) if found is not None else None,
    )


def _strategy(trainer: Trainer) -> str:
    """Return the strategy's name, with the ranks that split each layer where there are several."""
    splitting = trainer.world_size // share_of(trainer).count
    return type(trainer.strategy).__name__ + (f"/{splitting}" if splitting > 1 else "")


def _left(session: RunSession) -> Budgets:
    """Return what is left of the run's budgets, as the planner counts: the building's energy."""
    config, used = session.config, session.snapshot()
    kwh = None if config.budget_kwh is None else max(0.0, config.budget_kwh - used.energy_kwh)
    grams = None
    if config.budget_kgco2e is not None:
        grams = max(0.0, 1000 * (config.budget_kgco2e - used.emissions_kgco2e))
    cost = None
    if config.budget_cost is not None:
        cost = max(0.0, config.budget_cost - (used.cost or 0.0))
    return Budgets(kwh, grams, cost)
