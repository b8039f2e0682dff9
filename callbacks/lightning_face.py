"""What only Lightning knows of a training: what is left, what comes next, how to stop."""

from __future__ import annotations

import signal
from collections.abc import Collection
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.checkpoint import save_checkpoint
from carbon_trainer.control.phases import VALIDATION
from carbon_trainer.distributed.process import ProcessRank
from carbon_trainer.runs.outcome import Outcome

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.runs.session import RunSession
    from carbon_trainer.runs.signals import Interrupts


class LightningFace:
    """Implements ``control.face.Face`` for one ``fit`` of a Lightning trainer.

    Attributes:
        batch_index: the batch that has just ended.
        interrupts: receives signals; None leaves them to Lightning.
    """

    def __init__(self, trainer: Trainer, session: RunSession | None) -> None:
        self.batch_index = 0
        self.interrupts: Interrupts | None = None
        self._trainer = trainer
        self._session = session
        self._limit_val_batches: float | int | None = None
        self._total_steps: float | None = None

    def steps_left(self) -> int | None:
        """Return the optimizer steps to do; None where the trainer has no end that is known."""
        trainer = self._trainer
        if trainer.should_stop:
            return 0
        total = trainer.max_steps if trainer.max_steps > 0 else self._estimated_steps()
        return None if total == float("inf") else max(0, int(total) - trainer.global_step)

    def phases_before_next_step(self) -> Collection[str]:
        """Return whether Lightning may validate before it trains on the next batch."""
        return (VALIDATION,) if validation_follows(self._trainer, self.batch_index) else ()

    def steps_worth(self, phase: str) -> float:
        """Estimate a validation: its batches cost less than steps, having no backward pass."""
        if phase != VALIDATION:
            return 0.0
        return sum(n for n in self._trainer.num_val_batches if n != float("inf"))

    def stop(self, outcome: Outcome) -> None:
        """Save a checkpoint at this step boundary and end training, on every rank.

        Lightning would validate once more before it ends, and on an epoch's last batch would
        count the epoch as done; both are why the checkpoint is saved first.
        """
        trainer = self._trainer
        save_checkpoint(trainer, self._session, outcome.status)
        self._limit_val_batches = trainer.limit_val_batches
        trainer.limit_val_batches = 0
        trainer.should_stop = True

    def received_signal(self) -> int:
        """Return a signal that this rank has received; Lightning notes a SIGTERM itself."""
        if self.interrupts is not None:
            return self.interrupts.received or 0
        # With several ranks Lightning lets each end by itself, after the batch.
        trainer = self._trainer
        has_sigterm = trainer.world_size == 1 and trainer.received_sigterm
        return int(signal.SIGTERM) if has_sigterm else 0

    def restore(self) -> None:
        """Give the trainer back what ``stop`` has changed."""
        if self._limit_val_batches is not None:
            self._trainer.limit_val_batches = self._limit_val_batches

    def _estimated_steps(self) -> float:
        """Return the steps of all epochs; asked only where a plan needs it, for it loads data."""
        if self._session is None or self._session.config.deadline is None:
            return float("inf")
        if self._total_steps is None:
            self._total_steps = float(self._trainer.estimated_stepping_batches)
        return self._total_steps


def validation_follows(trainer: Trainer, batch_index: int) -> bool:
    """Say whether Lightning may validate before it trains on the next batch."""
    interval = trainer.val_check_batch
    if not trainer.enable_validation:
        return False
    if interval is None or interval == float("inf"):
        return interval is None
    loop = trainer.fit_loop.epoch_loop
    batches = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_index
    return (batches + 1) % int(interval) == 0 or bool(loop.batch_progress.is_last_batch)


def process_of(trainer: Trainer) -> ProcessRank:
    """Return a trainer's process among its others."""
    node, device = f"node{trainer.node_rank}", trainer.strategy.root_device
    return ProcessRank(trainer.global_rank, trainer.world_size, node, device)
