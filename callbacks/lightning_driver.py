"""Drives a run in a Lightning trainer, for all of our callbacks in it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from carbon_trainer.callbacks.lightning_face import LightningFace, process_of
from carbon_trainer.config import RunConfig
from carbon_trainer.control.driver import TrainingDriver
from carbon_trainer.control.participant import RankContext
from carbon_trainer.control.phases import CLOSING, VALIDATION
from carbon_trainer.data.shares import share_of
from carbon_trainer.errors import InputError
from carbon_trainer.runs.outcome import ResumePoint

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.callbacks.part import Part
    from carbon_trainer.runs.session import RunSession

VALIDATION_LOSS_NAMES = ("validation/loss", "val_loss", "val/loss", "valid_loss", "validation_loss")
"""Names under which a module may have logged its validation loss; the first there is recorded."""


class LightningDriver:
    """Turns Lightning's hooks of one ``fit`` into calls of a run's driver.

    Attributes:
        driver: the run's.
        parts: the callbacks' parts in it.
    """

    def __init__(
        self, context: RankContext, trainer: Trainer, parts: Sequence[Part], state: dict[str, Any]
    ) -> None:
        self.face = LightningFace(trainer, context.session)
        self.driver = TrainingDriver(context, self.face, state)
        self.parts = parts
        self._trainer = trainer
        self._last_step = 0
        self._tokens_of_step = 0
        self._loss_sum: torch.Tensor | None = None
        self._loss_steps = 0

    @classmethod
    def open(
        cls,
        trainer: Trainer,
        parts: Sequence[Part],
        session: RunSession | None,
        state: Mapping[str, Any] | None,
    ) -> LightningDriver:
        """Open the run on rank 0, or take the session that a callback was given; join it elsewhere.

        Args:
            trainer: the trainer that is about to fit.
            parts: its callbacks' parts.
            session: a session that the caller opened and will close; None to open one.
            state: the state that a checkpoint has of the run; None for a new run.

        Raises:
            InputError: if the parts' settings do not fit together, or rank 0 could not begin.
        """
        settings = _merged_settings(parts)
        resume = _resume_point(state, trainer)
        context = RankContext.open(settings, process_of(trainer), resume, session)
        opened = cls(context, trainer, parts, dict(state or {}))
        opened._start()
        return opened

    @property
    def session(self) -> RunSession | None:
        """The run's record; None on ranks that keep none."""
        return self.driver.session

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must carry of the run; plain types only."""
        return self.driver.state()

    # Hooks

    def train_start(self) -> None:
        """Training starts, or resumes."""
        self._last_step = self._trainer.global_step
        self.driver.begin(self._trainer.global_step)

    def batch_start(self) -> None:
        """A micro-batch starts; the first of a step begins it."""
        self.driver.step_begin()

    def batch_end(
        self, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """A micro-batch has ended; a step too if the optimizer has stepped."""
        if self.session is not None:
            self._count(module, outputs, batch)
        step = self._trainer.global_step
        if step == self._last_step:
            return
        self._last_step = step
        self.face.batch_index = batch_index
        tokens, self._tokens_of_step = self._tokens_of_step, 0
        self._loss_steps += 1
        self.driver.step_end(step, tokens)

    def validation_start(self) -> None:
        """A validation starts."""
        self.driver.phase_begin(VALIDATION)

    def validation_end(self) -> None:
        """A validation has ended; its loss is known."""
        self.driver.phase_end()
        metrics = self._trainer.callback_metrics
        names = (name for name in VALIDATION_LOSS_NAMES if name in metrics)
        name = next(names, None)
        self.driver.record_progress(validation=None if name is None else float(metrics[name]))

    def train_end(self) -> None:
        """Training has ended: record the last figures."""
        self.driver.set_phase(CLOSING)
        self._log_point()

    def fail(self, event: str, error: Exception) -> None:
        """Record a failure of our own; from then on a budget cannot be relied on."""
        self.driver.context.fail(event, error)

    def close(self, exception: BaseException | None) -> None:
        """Close the run if it is ours, and have the parts do what comes after."""
        self.face.restore()
        for part in self.parts:
            part.on_exit()
        session = self.driver.close(exception)
        if session is not None:
            for part in self.parts:
                part.on_run_closed(session)

    # Inside

    def _start(self) -> None:
        driver, parts = self.driver, self.parts
        driver.observers.append(self._log_if_due)
        driver.observers += [part.on_step_end for part in parts if part.overrides("on_step_end")]
        driver.proposals = [part.propose for part in parts if part.overrides("propose")]
        try:
            if driver.set_up(self._add_abilities) is not None:
                self._trainer.should_stop = True
        except Exception as error:
            self.close(error)
            raise

    def _add_abilities(self) -> None:
        """Let the parts add what they do."""
        for part in self.parts:
            part.on_rank_start(self.driver, self._trainer)
        if self.session is not None:
            for part in self.parts:
                part.on_run_start(self.driver, self._trainer)

    def _count(self, module: LightningModule, outputs: Any, batch: Any) -> None:
        # Every share of the data has batches of the same size.
        self._tokens_of_step += tokens_in(module, batch) * share_of(self._trainer).count
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, torch.Tensor):
            # Summed on the device: reading it each step would make the GPU wait for Python.
            loss = loss.detach()
            self._loss_sum = loss if self._loss_sum is None else self._loss_sum + loss

    def _log_if_due(self, driver: TrainingDriver) -> None:
        if driver.is_log_due(driver.step):
            self._log_point()

    def _log_point(self) -> None:
        session = self.session
        if self._loss_steps == 0 or session is None:
            return
        loss = None if self._loss_sum is None else float(self._loss_sum) / self._loss_steps
        self._loss_sum, self._loss_steps = None, 0
        self.driver.record_progress(loss=loss)
        if self._trainer.loggers:
            metrics: dict[str, float] = {}
            for part in self.parts:
                metrics.update(part.metrics(session))
            for logger in self._trainer.loggers:
                logger.log_metrics(metrics, step=self._trainer.global_step)


def tokens_in(module: LightningModule, batch: Any) -> int:
    """Return how many tokens a batch has: the module knows, or it has ``input_ids``; else 0."""
    count = getattr(module, "tokens_in", None)
    if callable(count):
        return int(count(batch))
    if isinstance(batch, Mapping) and isinstance(batch.get("input_ids"), torch.Tensor):
        return int(batch["input_ids"].numel())
    return 0


def _merged_settings(parts: Sequence[Part]) -> RunConfig:
    merged: dict[str, tuple[Any, str]] = {}
    for part in parts:
        name = type(part).__name__
        for key, value in part.settings.items():
            if key in merged and merged[key][0] != value:
                other_value, other_name = merged[key]
                raise InputError(
                    f"{other_name} and {name} disagree about {key}: {other_value!r} and {value!r}."
                )
            merged[key] = (value, name)
    return RunConfig.from_sources(("callbacks", {key: value for key, (value, _) in merged.items()}))


def _resume_point(state: Mapping[str, Any] | None, trainer: Trainer) -> ResumePoint | None:
    if not state:
        return None
    return ResumePoint(
        run_id=str(state["run_id"]),
        checkpoint=str(trainer.ckpt_path or "a checkpoint"),
        # The trainer has not restored its own count yet; checkpoints of 0.1.0 have none.
        step=int(state.get("step", trainer.global_step)),
        energy_mj=int(state["energy_mj"]),
    )
