"""Lightning callbacks: how a training loop meters, budgets and reports itself.

Each works alone; given several, they share one run. ``CarbonAware`` is all of them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.lazy import lazy_names

if TYPE_CHECKING:
    from carbon_trainer.callbacks.budget import EnergyBudget
    from carbon_trainer.callbacks.carbon_aware import CarbonAware
    from carbon_trainer.callbacks.communication import CommunicationShare
    from carbon_trainer.callbacks.emissions import EmissionsTracking
    from carbon_trainer.callbacks.metering import EnergyMetering
    from carbon_trainer.callbacks.prometheus import PrometheusExporter
    from carbon_trainer.callbacks.report import SustainabilityReport
    from carbon_trainer.callbacks.schedule import CarbonSchedule
    from carbon_trainer.callbacks.throttle import PowerThrottle
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "carbon_trainer.callbacks.budget": ["EnergyBudget"],
            "carbon_trainer.callbacks.carbon_aware": ["CarbonAware"],
            "carbon_trainer.callbacks.communication": ["CommunicationShare"],
            "carbon_trainer.callbacks.emissions": ["EmissionsTracking"],
            "carbon_trainer.callbacks.metering": ["EnergyMetering"],
            "carbon_trainer.callbacks.prometheus": ["PrometheusExporter"],
            "carbon_trainer.callbacks.report": ["SustainabilityReport"],
            "carbon_trainer.callbacks.schedule": ["CarbonSchedule"],
            "carbon_trainer.callbacks.throttle": ["PowerThrottle"],
        },
    )

if __name__ != "carbon_trainer.callbacks":
    # It would be a second copy, whose classes are not those that the package knows.
    raise ImportError(f"import carbon_trainer.callbacks: {__name__!r} is only its folder's name")

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
