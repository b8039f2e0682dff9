"""Modules and callbacks of test_module.py, apart because they take seconds to import."""

from __future__ import annotations

import lightning


class Losses(lightning.Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self.losses.append(float(outputs["loss"]))
