"""EnergyBudget: training stops, with a checkpoint, before a budget is exceeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.budget import Budget, Need, StepForecast
from carbon_trainer.callbacks.agreement import Action, Stop
from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.errors import InputError
from carbon_trainer.session import Outcome
from carbon_trainer.units import energy_text

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lead import Lead
    from carbon_trainer.emissions import EmissionFactor
    from carbon_trainer.session import RunSession

CHECKPOINT_BYTES_PER_S = 100e6
"""Speed at which a first checkpoint is expected to be written; later ones were timed."""

BYTES_PER_PARAMETER = 12
"""Weights and AdamW's two moments, in 32 bits each."""

CLOSING_S = 1.0
"""Time from the last checkpoint to the meter's stop, seconds."""


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
        self.budget: Budget | None = None
        self._forecast = StepForecast()
        self._last_used_mj = 0
        self._checkpoint_s = 0.0
        self._factor: EmissionFactor | None = None

    def began(self, lead: Lead, trainer: Trainer) -> None:
        """Learn the limit; refuse a trainer that must go on whatever the budget says.

        Raises:
            InputError: if the trainer has ``min_steps`` or ``min_epochs``.
        """
        session = lead.session
        self._learn_limit(session)
        self._forecast = StepForecast()
        self._last_used_mj = session.used_mj(upper=True)
        if self.budget is None:
            return
        if trainer.min_steps or trainer.min_epochs:
            raise InputError(
                "a budget cannot be kept when the trainer has min_steps or min_epochs: remove them."
            )
        parameters = sum(p.numel() for p in trainer.lightning_module.parameters())
        self._checkpoint_s = parameters * BYTES_PER_PARAMETER / CHECKPOINT_BYTES_PER_S
        if self._need(session, self._last_used_mj, next_mj=0).exceeds(self.budget):
            session.stop_with(Outcome("budget", 3, self._reason(session)))
            trainer.should_stop = True

    def step_done(self, lead: Lead, trainer: Trainer, batch_index: int) -> None:
        """Learn what the step has used."""
        if not lead.records or self.budget is None:
            return
        used_mj = lead.session.used_mj(upper=True)
        if not lead.disturbed:
            self._forecast.observe(max(0, used_mj - self._last_used_mj))
        self._last_used_mj = used_mj

    def propose(self, lead: Lead, trainer: Trainer, batch_index: int) -> Action | None:
        """Stop now if going on could exceed the budget."""
        if self.budget is None or trainer.should_stop:
            return None
        session = lead.session
        if session.factor is not self._factor:
            self._learn_limit(session)
        budget = self.budget
        if budget is None:
            return None
        outcome = self._decide(budget, lead, trainer, batch_index)
        return None if outcome is None else Stop(outcome, {"limit_mj": budget.limit_mj})

    def most_steps(self, lead: Lead, trainer: Trainer, wanted: int) -> int:
        """Return how many steps surely fit, with a validation and the last checkpoint."""
        if self.budget is None or wanted <= 1:
            return wanted
        session = lead.session
        validation_mj = lead.validation_mj or self._first_validation_mj(trainer)
        need = self._need(session, self._last_used_mj, validation_mj)
        left_mj = self.budget.limit_mj - need.total_mj
        return max(1, min(wanted, int(left_mj / max(1, 2 * self._forecast.next_mj))))

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return what is left of the budget: energy of the building (kWh), and its share of 1."""
        left_kwh = self.left_kwh(session)
        if self.budget is None or left_kwh is None:
            return {}
        limit_kwh = session.factor.facility_kwh(self.budget.limit_mj)
        return {"budget/left_kwh": left_kwh, "budget/left_share": left_kwh / limit_kwh}

    def left_kwh(self, session: RunSession) -> float | None:
        """Return what is left, kWh with PUE; None without a budget."""
        if self.budget is None:
            return None
        return session.factor.facility_kwh(self.budget.limit_mj - session.used_mj())

    def _learn_limit(self, session: RunSession) -> None:
        """Emissions and money are other energies under each emission factor."""
        self._factor = session.factor
        self.budget = Budget.tightest(session.config, session.factor, session.settled)

    def _decide(
        self, budget: Budget, lead: Lead, trainer: Trainer, batch_index: int
    ) -> Outcome | None:
        session = lead.session
        if session.meter_loss and session.config.on_meter_loss == "stop":
            return Outcome("budget", 3, f"energy can no longer be known: {session.meter_loss}")
        used_mj = session.used_mj(upper=True) if lead.waiting else self._last_used_mj
        # A pause is followed by a step before the next look.
        next_mj = self._forecast.next_mj
        if not lead.waiting and validation_follows(trainer, batch_index):
            next_mj += lead.validation_mj or self._first_validation_mj(trainer)
        if not self._need(session, used_mj, next_mj).exceeds(budget):
            return None
        return Outcome("budget", 3, self._reason(session))

    def _need(self, session: RunSession, used_mj: int, next_mj: int) -> Need:
        """Keep room for two checkpoints: a periodic one may be saved just before the last."""
        checkpoint_s = max(self._checkpoint_s, 1.5 * session.checkpoint_s)
        seconds = 2 * checkpoint_s + CLOSING_S
        reserve_mj = round(session.meter.peak_power_w() * seconds * 1000)
        return Need(used_mj, next_mj, reserve_mj)

    def _first_validation_mj(self, trainer: Trainer) -> int:
        """A validation's batch costs less than a step's: it has no backward pass."""
        batches = sum(n for n in trainer.num_val_batches if n != float("inf"))
        return round(batches * self._forecast.next_mj)

    def _reason(self, session: RunSession) -> str:
        limit = self.budget.text if self.budget else ""
        used = energy_text(session.factor.facility_kwh(session.used_mj()))
        return f"the budget of {limit} is reached: {used} used, and the next step would not fit"


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
