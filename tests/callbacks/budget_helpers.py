"""Modules and callbacks of test_budget.py, apart because they take seconds to import."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from carbon_trainer.callbacks.lightning_face import validation_follows
from tests.callbacks.training import TinyModule
from tests.simulation.source import ConstantSource


class Slow(TinyModule):
    """A step takes a while, so that a budget is reached after a few."""

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        import time

        time.sleep(0.02)
        return super().training_step(batch, index)


class CountValidations(Callback):
    def __init__(self) -> None:
        self.batches = 0

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self.batches += 1


class LoseAt(Callback):
    def __init__(self, source: ConstantSource, step: int) -> None:
        self.source, self.step = source, step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.source.lose()


class Foresee(Callback):
    """Asks after every batch whether a validation follows, and looks whether one does."""

    def __init__(self) -> None:
        self.expected = False
        self.missed = 0
        self.foreseen = 0

    def on_train_batch_end(self, trainer: Any, module: Any, out: Any, batch: Any, i: int) -> None:
        self.expected = validation_follows(trainer, i)

    def on_validation_start(self, *_: Any) -> None:
        self.missed += not self.expected
        self.foreseen += self.expected
