"""Lightning callbacks: how a training loop meters, budgets and reports itself.

Each works alone; given several, they share one run. ``CarbonAware`` is all of them together.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carbon_trainer.callbacks.budget import EnergyBudget as EnergyBudget
    from carbon_trainer.callbacks.carbon_aware import CarbonAware as CarbonAware
    from carbon_trainer.callbacks.communication import CommunicationShare as CommunicationShare
    from carbon_trainer.callbacks.emissions import EmissionsTracking as EmissionsTracking
    from carbon_trainer.callbacks.metering import EnergyMetering as EnergyMetering
    from carbon_trainer.callbacks.prometheus import PrometheusExporter as PrometheusExporter
    from carbon_trainer.callbacks.report import SustainabilityReport as SustainabilityReport
    from carbon_trainer.callbacks.schedule import CarbonSchedule as CarbonSchedule
    from carbon_trainer.callbacks.throttle import PowerThrottle as PowerThrottle

if __name__ != "carbon_trainer.callbacks":
    # It would be a second copy, whose classes are not those that the package knows.
    raise ImportError(f"import carbon_trainer.callbacks: {__name__!r} is only its folder's name")

_HOMES = {
    "CarbonAware": "carbon_aware",
    "CarbonSchedule": "schedule",
    "CommunicationShare": "communication",
    "EmissionsTracking": "emissions",
    "EnergyBudget": "budget",
    "EnergyMetering": "metering",
    "PowerThrottle": "throttle",
    "PrometheusExporter": "prometheus",
    "SustainabilityReport": "report",
}

__all__ = [
    "CarbonAware",
    "CarbonSchedule",
    "CommunicationShare",
    "EmissionsTracking",
    "EnergyBudget",
    "EnergyMetering",
    "PowerThrottle",
    "PrometheusExporter",
    "SustainabilityReport",
]


def __getattr__(name: str) -> Any:
    """Import a callback when it is first asked for: Lightning costs seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'carbon_trainer.callbacks' has no attribute {name!r}")
    return getattr(importlib.import_module(f"carbon_trainer.callbacks.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
