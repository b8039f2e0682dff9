"""EnergyBudget: training stops, with a checkpoint, before a budget is exceeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.budget import Budget, BudgetGuard
from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.control.driver import TrainingDriver
    from carbon_trainer.runs.session import RunSession


class EnergyBudget(CarbonCallback):
    """Stops a run before it exceeds a budget of energy, emissions or money.

    Checked after every optimizer step: what was used, in the upper estimate, the next step, a
    validation if one comes before the next check, and the last checkpoint must all fit.

    Args:
        session: a run that the caller opened; None to open one for each fit.
        budget_kwh: most energy, all segments of the run together, times PUE.
        budget_kgco2e: most emissions.
        budget_cost: most money; needs ``price_per_kwh``.
        price_per_kwh: price of electricity.
        on_meter_loss: ``stop`` or ``estimate`` when energy can no longer be known.
    """

    def __init__(
        self,
        *,
        session: RunSession | None = None,
        budget_kwh: float | None = None,
        budget_kgco2e: float | None = None,
        budget_cost: float | None = None,
        price_per_kwh: float | None = None,
        on_meter_loss: str | None = None,
    ) -> None:
        super().__init__(
            session=session,
            budget_kwh=budget_kwh,
            budget_kgco2e=budget_kgco2e,
            budget_cost=budget_cost,
            price_per_kwh=price_per_kwh,
            on_meter_loss=on_meter_loss,
        )
        self._guard: BudgetGuard | None = None

    @property
    def budget(self) -> Budget | None:
        """The budget that is reached first; None before training, or where none was set."""
        return self._guard.budget if self._guard is not None else None

    def on_run_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Learn the limit; refuse a trainer that must go on whatever the budget says.

        Raises:
            InputError: if the trainer has ``min_steps`` or ``min_epochs``.
        """
        driver.keep_budget(sum(p.numel() for p in trainer.lightning_module.parameters()))
        self._guard = driver.guard
        if self.budget is not None and (trainer.min_steps or trainer.min_epochs):
            raise InputError(
                "a budget cannot be kept when the trainer has min_steps or min_epochs: remove them."
            )

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return what is left of the budget: energy of the building (kWh), and its share of 1."""
        return self._guard.metrics() if self._guard is not None else {}

    def left_kwh(self, session: RunSession) -> float | None:
        """Return what is left, kWh with PUE; None without a budget."""
        return self._guard.left_kwh() if self._guard is not None else None
