"""What only a transformers Trainer knows of a training: what is left, what is next, how to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.huggingface.arguments import epoch_may_end
from carbon_trainer.control.phases import VALIDATION
from carbon_trainer.runs.outcome import Outcome

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from carbon_trainer.runs.signals import HeldSignals

log = logging.getLogger(__name__)


class HuggingFaceFace:
    """Implements ``control.face.Face`` for one ``train`` of a transformers Trainer.

    Attributes:
        state: the trainer's, as its last hook was given it.
        control: the trainer's flags: stop, save, evaluate.
        validation_steps: estimates how many steps' energy a validation needs.
    """

    def __init__(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        signals: HeldSignals,
    ) -> None:
        self.state = state
        self.control = control
        self.validation_steps: Callable[[], float] = lambda: 0.0
        self._args = args
        self._signals = signals

    def steps_left(self) -> int | None:
        """Return the optimizer steps to do."""
        if self.control.should_training_stop:
            return 0
        return max(0, self.state.max_steps - self.state.global_step)

    def phases_before_next_step(self) -> Collection[str]:
        """Return whether a validation may follow."""
        follows = self.control.should_evaluate or epoch_may_end(self._args, self.state)
        return (VALIDATION,) if follows else ()

    def steps_worth(self, phase: str) -> float:
        """Estimate a validation before one was metered."""
        return self.validation_steps() if phase == VALIDATION else 0.0

    def stop(self, outcome: Outcome) -> None:
        """Have the trainer save a checkpoint and end."""
        if self._args.process_index == 0:
            log.warning("training stops with a checkpoint: %s.", outcome.reason)
        self.control.should_training_stop = self.control.should_save = True
        self.control.should_evaluate = False

    def received_signal(self) -> int:
        """Return the number of a signal that this rank has received; 0 for none."""
        return self._signals.received
