"""EnergyBudget: training stops, with a checkpoint, before a budget is exceeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.actions import Action, Stop
from carbon_trainer.control.budget import Budget, BudgetGuard
from carbon_trainer.errors import InputError
from carbon_trainer.runs.outcome import budget_reached

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead
    from carbon_trainer.runs.session import RunSession


class EnergyBudget(CarbonCallback):
    """Stops a run before it exceeds a budget of energy, emissions or money.

    Checked after every optimizer step: what was used, in the upper estimate, the next step, a
    validation if one comes before the next check, and the last checkpoint must all fit.

    Args:
        session: a run that somebody else opened; None to open one for each fit.
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
        self._watch: BudgetGuard | None = None

    @property
    def budget(self) -> Budget | None:
        """The budget that is reached first; None before training, or where none was set."""
        return self._watch.budget if self._watch is not None else None

    @property
    def ahead_mj(self) -> int:
        """What a step and the end of the run will use, as far as is known, millijoules."""
        return self._watch.remaining_need_mj if self._watch is not None else 0

    def began(self, lead: Lead, trainer: Trainer) -> None:
        """Learn the limit; refuse a trainer that must go on whatever the budget says.

        Raises:
            InputError: if the trainer has ``min_steps`` or ``min_epochs``.
        """
        parameters = sum(p.numel() for p in trainer.lightning_module.parameters())
        self._watch = BudgetGuard(lead.session, parameters)
        if self.budget is None:
            return
        if trainer.min_steps or trainer.min_epochs:
            raise InputError(
                "a budget cannot be kept when the trainer has min_steps or min_epochs: remove them."
            )
        reason = self._watch.reason_not_to_start(lead.ahead_mj)
        if reason is not None:
            lead.session.request_stop(budget_reached(reason))
            trainer.should_stop = True

    def step_done(self, lead: Lead, trainer: Trainer, batch_index: int) -> None:
        """Learn what the step has used."""
        if lead.records and self._watch is not None:
            self._watch.end_step(disturbed=lead.disturbed)

    def propose(self, lead: Lead, trainer: Trainer, batch_index: int) -> Action | None:
        """Stop now if going on could exceed the budget."""
        watch = self._watch
        if watch is None or watch.budget is None or trainer.should_stop:
            return None
        validation_mj = 0
        # A pause is followed by a step before the next look.
        if not lead.waiting and validation_follows(trainer, batch_index):
            validation_mj = lead.validation_mj or self._first_validation_mj(watch, trainer)
        reason = watch.reason_to_stop(validation_mj, waiting=lead.waiting)
        if reason is None or watch.budget is None:
            return None
        return Stop(budget_reached(reason), {"limit_mj": watch.budget.limit_mj})

    def most_steps(self, lead: Lead, trainer: Trainer, wanted: int) -> int:
        """Return how many steps surely fit, with a validation and the last checkpoint."""
        if self._watch is None:
            return wanted
        validation_mj = lead.validation_mj or self._first_validation_mj(self._watch, trainer)
        return self._watch.max_steps(wanted, validation_mj)

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return what is left of the budget: energy of the building (kWh), and its share of 1."""
        return self._watch.metrics() if self._watch is not None else {}

    def left_kwh(self, session: RunSession) -> float | None:
        """Return what is left, kWh with PUE; None without a budget."""
        return self._watch.left_kwh() if self._watch is not None else None

    def _first_validation_mj(self, watch: BudgetGuard, trainer: Trainer) -> int:
        """A validation's batch costs less than a step's: it has no backward pass."""
        batches = sum(n for n in trainer.num_val_batches if n != float("inf"))
        return round(batches * watch.next_mj)


def validation_follows(trainer: Trainer, batch_index: int) -> bool:
    """Tell whether Lightning may validate before it trains on the next batch."""
    interval = trainer.val_check_batch
    if not trainer.enable_validation:
        return False
    if interval is None or interval == float("inf"):
        return interval is None
    loop = trainer.fit_loop.epoch_loop
    done = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_index
    return (done + 1) % int(interval) == 0 or bool(loop.batch_progress.is_last_batch)
