"""carbon-trainer: transformer training under an energy, carbon or cost budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.lazy import lazy_names

if TYPE_CHECKING:
    from carbon_trainer.callbacks.loop.recorder import RunRecorder
    from carbon_trainer.config import RunConfig
    from carbon_trainer.energy.meter import EnergyMeter
    from carbon_trainer.errors import CarbonTrainerError, InputError, LedgerError
    from carbon_trainer.models.module import TransformerModule
    from carbon_trainer.training.trainer import CarbonTrainer
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "carbon_trainer.callbacks.loop.recorder": ["RunRecorder"],
            "carbon_trainer.config": ["RunConfig"],
            "carbon_trainer.energy.meter": ["EnergyMeter"],
            "carbon_trainer.errors": ["CarbonTrainerError", "InputError", "LedgerError"],
            "carbon_trainer.models.module": ["TransformerModule"],
            "carbon_trainer.training.trainer": ["CarbonTrainer"],
        },
    )

__version__ = "0.1.0"

__all__ = [
    "CarbonTrainer",
    "CarbonTrainerError",
    "EnergyMeter",
    "InputError",
    "LedgerError",
    "RunConfig",
    "RunRecorder",
    "TransformerModule",
    "__version__",
]
