"""What a training does next, as rank 0 decides it: signals first, then budget, then plan."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from carbon_trainer.control.actions import Action, Stop
from carbon_trainer.control.phases import VALIDATION
from carbon_trainer.runs.outcome import Outcome, budget_reached
from carbon_trainer.runs.signals import exit_status_of, signal_name

if TYPE_CHECKING:
    from carbon_trainer.control.driver import TrainingDriver

log = logging.getLogger(__name__)


def propose(driver: TrainingDriver, signal_number: int) -> tuple[Action | None, int]:
    """Decide what to do, and after how many steps to decide again.

    Args:
        driver: the training; on rank 0.
        signal_number: the highest signal that any rank has received; 0 for none.
    """
    session, consensus = driver.session, driver.context.consensus
    if session is None:
        return None, 1
    try:
        session.follow_intensity()
        action, steps = _choose(driver, signal_number), 1
        if consensus.is_shared and not driver.pause.is_paused:
            steps = consensus.steps_until_next(driver.step, session.clock.now_ns())
            if driver.guard is not None:
                phases = {VALIDATION, *driver.phases.needs_mj}
                steps = driver.guard.max_steps(steps, _need_mj(driver, phases))
    except Exception as error:
        # What breaks here is ours, and must never leave other ranks waiting for an answer.
        if not consensus.is_shared:
            raise
        log.debug("deciding", exc_info=True)
        driver.context.fail("decision", error)
        return None, 1
    return action, steps


def _choose(driver: TrainingDriver, signal_number: int) -> Action | None:
    for proposal in driver.proposals:
        action = proposal(driver)
        if action is not None:
            return action
    has_budget = driver.guard is not None and driver.guard.budget is not None
    if not (signal_number or has_budget or driver.plan is not None):
        # Most steps end here: nothing that could end or change training is asked for.
        return None
    steps_left = driver.face.steps_left()
    if signal_number and steps_left != 0:
        reason = f"{signal_name(signal_number)} after step {driver.step}"
        return Stop(Outcome("interrupted", exit_status_of(signal_number), reason))
    stop = _budget_stop(driver, has_steps_left=steps_left != 0) if has_budget else None
    if stop is not None or driver.plan is None or steps_left == 0:
        return stop
    return driver.plan.propose(steps_left)


def _budget_stop(driver: TrainingDriver, *, has_steps_left: bool) -> Stop | None:
    guard = driver.guard
    if guard is None or guard.budget is None:
        return None
    phases = driver.face.phases_before_next_step()
    if not has_steps_left and not phases:
        return None
    reason = guard.reason_to_stop(
        _need_mj(driver, phases), waiting=driver.pause.is_paused, steps_left=has_steps_left
    )
    if reason is None or guard.budget is None:
        return None
    return Stop(budget_reached(reason), {"limit_mj": guard.budget.limit_mj})


def _need_mj(driver: TrainingDriver, phases: Collection[str]) -> int:
    """Return what phases are expected to use: what they did, else what they are worth in steps."""
    if driver.guard is None:
        return 0
    next_mj, needs_mj = driver.guard.next_mj, driver.phases.needs_mj
    return sum(
        needs_mj.get(name) or round(driver.face.steps_worth(name) * next_mj) for name in phases
    )
