"""Modules and callbacks of test_environment.py, apart because they take seconds to import."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback

from carbon_trainer.callbacks.base import CarbonCallback


class LosesTheMeter(Callback):
    def __init__(self, at_step: int) -> None:
        self.at_step = at_step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.at_step:
            (ours,) = [one for one in trainer.callbacks if isinstance(one, CarbonCallback)]
            ours.run.meter_loss = "the device is gone"
