"""StopOnSignal: Ctrl-C, SIGTERM and pre-emption end training, with a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.lightning_face import LightningFace

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.control.driver import TrainingDriver
    from carbon_trainer.runs.session import RunSession
    from carbon_trainer.runs.signals import Interrupts


class StopOnSignal(CarbonCallback):
    """Answers a signal after the step that is under way.

    Args:
        session: the run.
        interrupts: receives signals.
    """

    def __init__(self, session: RunSession | None, interrupts: Interrupts) -> None:
        super().__init__(session=session)
        self._interrupts = interrupts

    def on_rank_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Have the driver ask for signals here."""
        if isinstance(driver.face, LightningFace):
            driver.face.interrupts = self._interrupts

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, whose handler ends with status 0."""
        super().on_train_start(trainer, pl_module)
        self._interrupts.install()
