"""Modules and callbacks of test_huggingface.py, apart because they take seconds to import."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from carbon_trainer.callbacks.huggingface.arguments import (
    epoch_may_end,
)
from tests.simulation.nvml import SimulatedGpu


class Slow(TrainerCallback):
    """A step takes a while, so that a budget is reached after a few."""

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        time.sleep(0.02)


class PutBack(TrainerCallback):
    """Hides a method only while callbacks begin: the trainer itself needs it."""

    def __init__(self, trainer: Any, rewards: Any) -> None:
        self.trainer, self.rewards = trainer, rewards

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.trainer._calculate_rewards = self.rewards


class Foresee(TrainerCallback):
    """Asks after every step whether a validation may follow, and looks whether one does."""

    def __init__(self) -> None:
        self.expected = False
        self.missed = 0
        self.foreseen = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.expected = control.should_evaluate or epoch_may_end(args, state)

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self.missed += not self.expected
        self.foreseen += self.expected


class CountValidations(TrainerCallback):
    batches = 0

    def on_prediction_step(self, *_: Any, **__: Any) -> None:
        self.batches += 1


class CountSteps(TrainerCallback):
    steps = 0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.steps += 1


class LoseAt(TrainerCallback):
    def __init__(self, gpu: SimulatedGpu, step: int) -> None:
        self.gpu, self.step = gpu, step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.gpu.lost = state.global_step >= self.step


class FailsAtBegin(TrainerCallback):
    def on_train_begin(self, *_: Any, **__: Any) -> None:
        raise ValueError("before any step")


class TooLarge(TrainerCallback):
    raised = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self.raised:
            self.raised = True
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.")
