"""Drives a run in one ``train`` of a transformers Trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.callbacks.huggingface.arguments import tokens_in, usual_folder
from carbon_trainer.callbacks.huggingface.face import HuggingFaceFace
from carbon_trainer.callbacks.huggingface.state import leave_state
from carbon_trainer.control.driver import TrainingDriver
from carbon_trainer.control.failures import shielded
from carbon_trainer.control.participant import RankContext
from carbon_trainer.control.phases import CHECKPOINT, CLOSING, VALIDATION
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.runs.checkpoints import size_of
from carbon_trainer.runs.session import RunSession

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class HuggingFaceDriver:
    """Turns a trainer's hooks into calls of a run's driver.

    Args:
        context: this process's part in the run.
        face: what only the trainer knows.
        args: the trainer's arguments.
        resumed: the state that a checkpoint has of the run; None for a new one.

    Attributes:
        driver: the run's.
        has_nothing_left: the budget was used up before the first step.
        sees_evaluations: whether the beginning of an evaluation is known.
    """

    def __init__(
        self,
        context: RankContext,
        face: HuggingFaceFace,
        args: TrainingArguments,
        resumed: Mapping[str, Any] | None,
    ) -> None:
        self.face = face
        self.driver = TrainingDriver(context, face, resumed)
        self.driver.observers.append(self._record_if_due)
        self.has_nothing_left = False
        self.sees_evaluations = False
        self._args = args
        self._tokens_of_step = 0
        self._saved: tuple[Path, float] | None = None

    @property
    def session(self) -> RunSession | None:
        """The run's record; None on ranks that keep none."""
        return self.driver.session

    def note(self, decision: str, why: str) -> None:
        """Record something that a reader of the record should know."""
        if self.session is not None:
            self.session.record(Decision(decision=decision, why=why))

    def fail(self, event: str, error: Exception) -> None:
        """Record a failure of our own; from then on a budget cannot be relied on."""
        self.driver.context.fail(event, error)

    def retries(self, error: BaseException) -> bool:
        """Say whether the trainer begins again, with smaller batches, after an exception."""
        if not self._args.auto_find_batch_size or not isinstance(error, Exception):
            return False
        from accelerate.utils.memory import should_reduce_batch_size

        return bool(should_reduce_batch_size(error))

    # Steps

    def step_begin(self) -> None:
        """A step starts: the first of its micro-batches."""
        self.driver.step_begin()

    def step_end(self, state: TrainerState, control: TrainerControl) -> None:
        """The optimizer has stepped."""
        self.face.state, self.face.control = state, control
        tokens, self._tokens_of_step = self._tokens_of_step, 0
        self.driver.step_end(state.global_step, tokens)

    def epoch_end(self, control: TrainerControl) -> None:
        """An epoch has ended; after a stop nothing more is evaluated or saved."""
        if self.driver.outcome is not None:
            control.should_evaluate = control.should_save = False

    def count(self, inputs: Any) -> None:
        """Count the tokens of a micro-batch, padding too; every rank has as many."""
        if self.driver.phases.name == self.driver.training_phase:
            self._tokens_of_step += tokens_in(inputs) * self._args.world_size

    def train_end(self) -> None:
        """Training has ended in an orderly way."""
        self.driver.set_phase(CLOSING)

    # Figures

    def add_metrics(self, logs: dict[str, Any]) -> None:
        """Add what the run has used to what the trainer logs, once."""
        if self.driver.phases.name != VALIDATION and "energy/machines_kwh" not in logs:
            logs.update(self.driver.metrics())

    def record_logged(self, logs: Mapping[str, Any]) -> None:
        """Record the loss that the trainer logs."""
        loss = logs.get("loss")
        if isinstance(loss, int | float):
            self.driver.record_progress(loss=float(loss))

    def _record_if_due(self, driver: TrainingDriver) -> None:
        if driver.is_log_due(driver.step) and not self.face.control.should_log:
            driver.record_progress()

    # Validations and checkpoints

    def validating(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Evaluate, and learn what it uses."""
        if self.has_nothing_left:
            return {}
        if self.driver.phases.name == VALIDATION:
            return original(*args, **kwargs)
        return self._within(VALIDATION, original, *args, **kwargs)

    def prediction_step(self) -> None:
        """A batch is evaluated: record as validation, where its beginning was not seen."""
        if not self.sees_evaluations:
            self.driver.set_phase(VALIDATION)

    def validated(self, metrics: Mapping[str, Any]) -> None:
        """Record a validation's loss."""
        if not self.sees_evaluations:
            self.driver.set_phase(self.driver.training_phase)
        loss = metrics.get("eval_loss")
        if isinstance(loss, int | float):
            self.driver.record_progress(validation=float(loss))

    def saving(self, folder: Path, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Save a checkpoint, and measure how long it takes."""
        start_s = time.monotonic()
        result = self._within(CHECKPOINT, original, *args, **kwargs)
        self._saved = folder, time.monotonic() - start_s
        return result

    def saved(self, state: TrainerState) -> None:
        """A checkpoint is there: leave the run's state in it, seal it, record it."""
        folder, save_s = self._saved or (usual_folder(self._args, state), 0.0)
        self._saved = None
        # Every rank writes its part.
        self.driver.context.consensus.barrier()
        if self.session is not None:
            self._within(CHECKPOINT, self._seal, self.session, folder, save_s, state.global_step)

    def _seal(self, session: RunSession, folder: Path, save_s: float, step: int) -> None:
        start_s = time.monotonic()
        try:
            leave_state(folder, {**self.driver.state(), "step": step})
            size = size_of(folder)
        except OSError as error:
            session.record_gap(f"checkpoint at step {step}", f"{error.strerror or error}")
            return
        seconds = save_s + time.monotonic() - start_s
        outcome = self.driver.outcome
        why = outcome.status if outcome is not None else "periodic"
        session.checkpoint_saved(folder, step=step, size=size, seconds=seconds, why=why)

    def _within(
        self, phase: str, original: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:  # fmt: skip
        """Call a method and record what it uses under a phase."""
        shielded("phase", lambda: self.driver.phase_begin(phase), self.fail)
        try:
            return original(*args, **kwargs)
        finally:
            shielded("phase", self.driver.phase_end, self.fail)

    def within_step(
        self, phase: str, original: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Record a part of a training step apart; in a validation it is validation."""
        driver = self.driver
        if driver.phases.name != driver.training_phase:
            return original(*args, **kwargs)
        shielded("phase", lambda: driver.set_phase(phase), self.fail)
        try:
            return original(*args, **kwargs)
        finally:
            shielded("phase", lambda: driver.set_phase(driver.training_phase), self.fail)
