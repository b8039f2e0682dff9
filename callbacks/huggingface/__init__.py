"""CarbonAwareCallback: meter, budget, schedule and report for transformers.Trainer and TRL's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carbon_trainer.callbacks.huggingface.callback import (
        CarbonAwareCallback as CarbonAwareCallback,
    )

__all__ = ["CarbonAwareCallback"]


def __getattr__(name: str) -> Any:
    """Import the callback when it is first asked for: transformers costs seconds."""
    if name != "CarbonAwareCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from carbon_trainer.callbacks.huggingface.callback import CarbonAwareCallback

    return CarbonAwareCallback
