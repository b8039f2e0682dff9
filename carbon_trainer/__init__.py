"""carbon-trainer: transformer training under an energy, carbon or cost budget."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carbon_trainer.callbacks.loop.recorder import RunRecorder as RunRecorder
    from carbon_trainer.config import RunConfig as RunConfig
    from carbon_trainer.energy.meter import EnergyMeter as EnergyMeter
    from carbon_trainer.models.module import TransformerModule as TransformerModule
    from carbon_trainer.training.trainer import CarbonTrainer as CarbonTrainer

__version__ = "0.1.0"

_HOMES = {
    "CarbonTrainer": "carbon_trainer.training.trainer",
    "EnergyMeter": "carbon_trainer.energy.meter",
    "RunConfig": "carbon_trainer.config",
    "RunRecorder": "carbon_trainer.callbacks.loop.recorder",
    "TransformerModule": "carbon_trainer.models.module",
}

__all__ = [
    "CarbonTrainer",
    "EnergyMeter",
    "RunConfig",
    "RunRecorder",
    "TransformerModule",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch costs seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'carbon_trainer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
