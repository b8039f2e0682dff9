"""EmissionsTracking: energy times the grid's intensity, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.metrics import emissions_metrics

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession


class EmissionsTracking(CarbonCallback):
    """Tracks emissions and cost of a training run.

    Args:
        session: a run that the caller opened; None to open one for each fit.
        zone: ISO country code or US state; None takes the world average, as assumed.
        pue: power usage effectiveness of the building.
        price_per_kwh: price of electricity.
        currency: its currency.
    """

    def __init__(
        self,
        *,
        session: RunSession | None = None,
        zone: str | None = None,
        pue: float | None = None,
        price_per_kwh: float | None = None,
        currency: str | None = None,
    ) -> None:
        super().__init__(
            session=session, zone=zone, pue=pue, price_per_kwh=price_per_kwh, currency=currency
        )

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return emissions (kgCO2e), the building's energy (kWh), and cost where a price is set."""
        return emissions_metrics(session)
