"""Modules and callbacks of test_resume.py, apart because they take seconds to import."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback

from carbon_trainer.callbacks import CarbonAware
from carbon_trainer.runs.outcome import Outcome


class StopAt(Callback):
    """Asks the driver to stop after a step, as a budget or a signal does."""

    def __init__(self, aware: CarbonAware, step: int) -> None:
        self.aware, self.step = aware, step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step and not trainer.should_stop:
            assert self.aware._driver is not None
            self.aware._driver.driver.stop(Outcome("interrupted", 130, "asked to"))
