"""CarbonAwareCallback: meter, budget, schedule and report for transformers.Trainer and TRL's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.lazy import lazy_names

if TYPE_CHECKING:
    from carbon_trainer.callbacks.huggingface.callback import CarbonAwareCallback
else:
    __getattr__, __dir__ = lazy_names(
        __name__, {"carbon_trainer.callbacks.huggingface.callback": ["CarbonAwareCallback"]}
    )

__all__ = ["CarbonAwareCallback"]
