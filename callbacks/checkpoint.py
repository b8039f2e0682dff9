"""Checkpoints at step boundaries, from which a run goes on bit for bit."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

from carbon_trainer.runs.checkpoints import commit, path_of, prune, remove, size_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)


def save_checkpoint(trainer: Trainer, session: RunSession | None, why: str) -> Path | None:
    """Save a checkpoint into the run's folder; to be called on every rank, at a step boundary.

    The file appears under its name only when it is whole. A disk that refuses it is logged and
    recorded; the run and its older checkpoints stay.

    Args:
        trainer: what to save.
        session: the run's record, on rank 0; None elsewhere.
        why: for the record: ``periodic``, ``budget``, ``interrupted``.

    Returns:
        The checkpoint, or None if it could not be saved.
    """
    folder = Path(str(trainer.strategy.broadcast(str(session.run_dir) if session else "")))
    path = path_of(folder / "checkpoints", trainer.global_step)
    temporary = path.with_suffix(".partial")
    phase = session.phase("checkpoint") if session else contextlib.nullcontext()
    start_s = time.monotonic()
    with phase:
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                commit(temporary, path)
        except (OSError, RuntimeError) as error:
            # torch reports a full disk as a RuntimeError of its zip writer.
            if trainer.is_global_zero:
                remove(temporary)
            if session is not None:
                session.record_gap(f"checkpoint at step {trainer.global_step}", _plain(error))
            return None
    if session is not None:
        session.checkpoint_saved(
            path,
            step=trainer.global_step,
            size=size_of(path),
            seconds=time.monotonic() - start_s,
            why=why,
        )
        prune(path.parent, session.config.keep_checkpoints)
    return path


class PeriodicCheckpoint(Callback):
    """Saves a checkpoint every so many steps, and one at the end.

    Args:
        session: the run, on rank 0.
        every: optimizer steps between checkpoints.
    """

    def __init__(self, session: RunSession | None, every: int) -> None:
        self._session = session
        self._every = every
        self._saved_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from where the run goes on."""
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save at the boundary of every n-th step, unless a stop has just saved one."""
        step = trainer.global_step
        due = step % self._every == 0 or step == trainer.max_steps
        if due and step != self._saved_step and not trainer.should_stop:
            self._saved_step = step
            save_checkpoint(trainer, self._session, "periodic")


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
