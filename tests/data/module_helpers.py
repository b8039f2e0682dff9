"""Modules and callbacks of data.test_module, apart because they take seconds to import."""

from __future__ import annotations

from pathlib import Path

import lightning


class Stop(lightning.Callback):
    """Notes losses, and saves and stops after a step."""

    def __init__(self, after: int | None, path: Path) -> None:
        self.losses: list[float] = []
        self._after = after
        self._path = path
        self._step = 0

    def on_train_start(self, trainer, module) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self.losses.append(float(outputs["loss"]))
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            if self._step == self._after:
                trainer.save_checkpoint(self._path)
                trainer.limit_val_batches = 0
                trainer.should_stop = True
