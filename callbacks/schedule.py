"""CarbonSchedule: when the run trains, at which power, and when it waits or makes room."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.throttle import PowerThrottle
from carbon_trainer.control.actions import Action
from carbon_trainer.control.shifting import PlanController
from carbon_trainer.data.shares import share_of
from carbon_trainer.errors import InputError
from carbon_trainer.planning.plan import Plan
from carbon_trainer.runs.session import RunSession

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead


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
        self._shifter: PlanController | None = None

    def began(self, lead: Lead, trainer: Trainer) -> None:
        """Learn what has to be kept."""
        self._shifter = None
        if lead.session.config.deadline is None:
            return
        mechanism = next((part for part in lead.parts if isinstance(part, PowerThrottle)), None)
        self._shifter = PlanController(
            lead,
            lead.session,
            _kind(lead.session, trainer),
            mechanism.throttle if mechanism is not None else None,
            executor=self._executor,
            anew=self._anew,
        )

    def step_done(self, lead: Lead, trainer: Trainer, batch_index: int) -> None:
        """An optimizer step has ended."""
        if self._shifter is not None:
            self._shifter.step_done(disturbed=lead.disturbed)

    def propose(self, lead: Lead, trainer: Trainer, batch_index: int) -> Action | None:
        """Follow the plan; measure first what it is made from."""
        if self._shifter is None or trainer.should_stop:
            return None
        return self._shifter.propose(lambda: _steps_left(trainer))

    def left(self) -> None:
        """Let go of the planner's thread."""
        if self._shifter is not None:
            self._shifter.close()

    @property
    def plan(self) -> Plan | None:
        """The plan that is followed; None before there is one."""
        return None if self._shifter is None else self._shifter.plan

    @property
    def has_measured(self) -> bool:
        """Whether it has measured the power settings, or found that it cannot."""
        return self._shifter is None or self._shifter.has_measured


def _steps_left(trainer: Trainer) -> int:
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


def _kind(session: RunSession, trainer: Trainer) -> dict[str, str | float | None]:
    config = session.config
    return {
        "model": config.model,
        "parameters": sum(p.numel() for p in trainer.lightning_module.parameters()),
        "batch_size": config.batch_size,
        "block_size": config.block_size,
        "accumulate": trainer.accumulate_grad_batches,
        "precision": str(trainer.precision),
        "ranks": trainer.world_size,
        "strategy": _strategy(trainer),
    }


def _strategy(trainer: Trainer) -> str:
    """Return the strategy's name, with the ranks that split each layer where there are several."""
    splitting = trainer.world_size // share_of(trainer).count
    return type(trainer.strategy).__name__ + (f"/{splitting}" if splitting > 1 else "")
