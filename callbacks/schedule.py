"""CarbonSchedule: when the run trains, at which power, and when it pauses or releases."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.shifting import PlanController
from carbon_trainer.data.shares import share_of
from carbon_trainer.planning.plan import Plan
from carbon_trainer.runs.session import RunSession

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.control.driver import TrainingDriver


class CarbonSchedule(CarbonCallback):
    """Shifts and throttles a run so that it emits or costs least and keeps its deadline.

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
        session: a run that the caller opened; None to open one for each fit.
        executor: where plans are made; a thread of its own by default.
        remeasure: measure power settings even where an earlier run has.

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
        remeasure: bool = False,
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
        self._remeasure = remeasure
        self._controller: PlanController | None = None

    def on_run_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Follow a plan, if there is a deadline to keep."""
        if driver.session is not None:
            driver.follow_plan(
                partial(_kind, driver.session, trainer),
                executor=self._executor,
                remeasure=self._remeasure,
            )
        self._controller = driver.plan

    @property
    def plan(self) -> Plan | None:
        """The plan that is followed; None before there is one."""
        return None if self._controller is None else self._controller.plan


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
