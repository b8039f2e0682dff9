"""StopOnSignal: Ctrl-C, SIGTERM and pre-emption end training, with a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.actions import Action, Stop
from carbon_trainer.runs.outcome import Outcome
from carbon_trainer.runs.signals import exit_status_of, signal_name

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead
    from carbon_trainer.runs.session import RunSession
    from carbon_trainer.runs.signals import Interrupts


class StopOnSignal(CarbonCallback):
    """Answers a noted signal after the step that is under way.

    Args:
        session: the run.
        interrupts: where signals are noted.
    """

    def __init__(self, session: RunSession | None, interrupts: Interrupts) -> None:
        super().__init__(session=session)
        self._interrupts = interrupts

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, whose handler ends with status 0."""
        super().on_train_start(trainer, pl_module)
        self._interrupts.install()

    def signal(self) -> int:
        """Return the signal that this rank has received."""
        return self._interrupts.received or 0

    def propose(self, lead: Lead, trainer: Trainer, batch_index: int) -> Action | None:
        """Stop if a signal has come to any rank."""
        number = lead.signal
        if not number or trainer.should_stop:
            return None
        reason = f"{signal_name(number)} after step {trainer.global_step}"
        return Stop(Outcome("interrupted", exit_status_of(number), reason))
