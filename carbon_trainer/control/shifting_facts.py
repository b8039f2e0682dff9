"""What a shifted run has to keep, what tells it from others, and what its record says of it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.control.plan_follower import Constraints
from carbon_trainer.durations import duration_ns
from carbon_trainer.grid.series import IntensitySeries, SeriesInfo, iso
from carbon_trainer.hardware.process import age_s
from carbon_trainer.ledger.facts import Decision, LevelsMeasured
from carbon_trainer.planning.plan import Plan
from carbon_trainer.planning.problem import Budgets, Objective
from carbon_trainer.power.profile import PowerProfile, key_of
from carbon_trainer.power.throttle import Throttle
from carbon_trainer.runs.outcome import SUPERVISED
from carbon_trainer.runs.session import RunSession


def levels_fact(profile: PowerProfile) -> LevelsMeasured:
    """Write down what each power setting draws and does."""
    return LevelsMeasured(
        means=profile.mechanism,
        levels=[
            {
                "share": setting.power_fraction,
                "power_w": setting.power_w,
                "steps_per_s": setting.steps_per_s,
                "steps": setting.steps,
                "seconds": setting.seconds,
            }
            for setting in profile.settings
        ],
        idle_w=profile.idle_w,
        measured_at_ns=profile.measured_at_ns,
    )


def plan_fact(session: RunSession, plan: Plan, at_once: Plan) -> Decision:
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


def constraints_of(session: RunSession, deadline_ns: int) -> Constraints:
    """Return what the schedule has to keep."""
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
    return Constraints(
        deadline_ns=deadline_ns,
        objective=objective,
        may_release=may_release,
        # What a start has taken until here, imports and data included, a restart takes again.
        restart_s=max(1.0, age_s()) if may_release else 0.0,
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


def levels_key(
    session: RunSession, kind: Mapping[str, str | float | None], throttle: Throttle | None
) -> str:
    """Return under what a run's power settings are kept for the next of its kind."""
    devices = [row.info.label for row in session.meter.summary().devices]
    return key_of(
        **kind,
        devices=sorted(devices),
        means=throttle.mechanism if throttle is not None else None,
        full=throttle.text(1.0) if throttle is not None else None,
    )


def budgets_left(session: RunSession) -> Budgets:
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
