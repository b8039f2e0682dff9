"""Electricity Maps: a key, most zones of the world, what forecasts its plan includes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from carbon_trainer.grid.providers.base import Provider, ProviderError, ProviderInfo
from carbon_trainer.grid.providers.http import Answer
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries

URL = "https://api.electricitymaps.com/v3"
KEY = "ELECTRICITYMAPS_API_KEY"
INFO = ProviderInfo(
    name="electricity-maps",
    title="Electricity Maps",
    zones="Electricity Maps' zones: DE, US-CAL-CISO, …",
    accounting="average lifecycle",
    step_minutes=60,
    forecast_hours=72,
    keys=(KEY,),
    licence="Electricity Maps' terms; not for redistribution",
)


class ElectricityMaps(Provider):
    """Asks api.electricitymaps.com."""

    info = INFO
    public_url = URL

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the newest forecast."""
        answer = self._get("forecast", {"zone": zone, "horizonHours": INFO.forecast_hours})
        points = _points(answer, "forecast", Basis.FORECAST)
        updated_at = answer.body.get("updatedAt")
        issued_at = datetime.fromisoformat(updated_at) if isinstance(updated_at, str) else now
        info = self._series_info(zone, stale=answer.stale, issued_at=issued_at)
        return from_points(info, points, INFO.step_minutes)

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was observed."""
        span = {"start": start.astimezone(UTC).isoformat(), "end": end.astimezone(UTC).isoformat()}
        answer = self._get("past-range", {"zone": zone, **span})
        points = _points(answer, "data", Basis.OBSERVED)
        return from_points(self._series_info(zone, stale=answer.stale), points, INFO.step_minutes)

    def _get(self, endpoint: str, params: dict[str, Any]) -> Answer:
        (key,) = self._keys
        url = f"{self._url}/carbon-intensity/{endpoint}"
        return self._web.json(url, params, headers={"auth-token": key})


def _points(answer: Answer, name: str, basis: Basis) -> list[Point]:
    try:
        return [
            (
                datetime.fromisoformat(row["datetime"]),
                row["carbonIntensity"],
                Basis.ESTIMATED if row.get("isEstimated") else basis,
            )
            for row in answer.body[name]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProviderError(
            "electricity-maps gave no data for that zone and time: ask for another"
        ) from None
