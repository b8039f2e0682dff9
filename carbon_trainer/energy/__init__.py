"""What was used: sources, a sampler that reads them, the curve E(t), and the meter over all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.lazy import lazy_names

if TYPE_CHECKING:
    from carbon_trainer.energy.meter import EnergyMeter
    from carbon_trainer.energy.results import (
        DeviceEnergy,
        EnergySummary,
        MeteredInterval,
        PhaseEnergy,
        StepEnergy,
    )
    from carbon_trainer.energy.sources.base import (
        Component,
        Method,
        PowerSource,
        Reading,
        SourceInfo,
    )
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "carbon_trainer.energy.meter": ["EnergyMeter"],
            "carbon_trainer.energy.results": [
                "DeviceEnergy",
                "EnergySummary",
                "MeteredInterval",
                "PhaseEnergy",
                "StepEnergy",
            ],
            "carbon_trainer.energy.sources.base": [
                "Component",
                "Method",
                "PowerSource",
                "Reading",
                "SourceInfo",
            ],
        },
    )

__all__ = [
    "Component",
    "DeviceEnergy",
    "EnergyMeter",
    "EnergySummary",
    "MeteredInterval",
    "Method",
    "PhaseEnergy",
    "PowerSource",
    "Reading",
    "SourceInfo",
    "StepEnergy",
]
