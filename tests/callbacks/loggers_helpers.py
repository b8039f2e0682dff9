"""Modules and callbacks of test_loggers.py, apart because they take seconds to import."""

from __future__ import annotations

import torch

from tests.callbacks.training import TinyModule


class Counting(TinyModule):
    """Counts eight tokens in each batch."""

    def tokens_in(self, batch: list[torch.Tensor]) -> int:
        return 8
