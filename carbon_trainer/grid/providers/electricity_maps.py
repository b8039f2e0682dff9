"""Electricity Maps: a key, most zones of the world, what forecasts its plan includes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers.base import ProviderError, ProviderInfo
from carbon_trainer.grid.providers.http import Answer, Web
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo

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


class ElectricityMaps:
    """Asks api.electricitymaps.com.

    Raises:
        InputError: if there is no key.
    """

    info = INFO

    def __init__(self, web: Web, key: str | None, url: str = URL) -> None:
        if not key:
            raise InputError(f"electricity-maps needs a key: set {KEY} in the environment")
        self._web = web
        self._url = url
        self._headers = {"auth-token": key}

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the newest forecast."""
        answer = self._ask("forecast", {"zone": zone, "horizonHours": INFO.forecast_hours})
        points = _points(answer, "forecast", Basis.FORECAST)
        issued_at = _updated(answer) or now
        return from_points(_about(zone, answer, issued_at), points, INFO.step_minutes)

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was."""
        span = {"start": start.astimezone(UTC).isoformat(), "end": end.astimezone(UTC).isoformat()}
        answer = self._ask("past-range", {"zone": zone, **span})
        points = _points(answer, "data", Basis.OBSERVED)
        return from_points(_about(zone, answer, None), points, INFO.step_minutes)

    def _ask(self, what: str, params: dict[str, Any]) -> Answer:
        return self._web.json(f"{self._url}/carbon-intensity/{what}", params, headers=self._headers)


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


def _updated(answer: Answer) -> datetime | None:
    told = answer.body.get("updatedAt")
    return datetime.fromisoformat(told) if isinstance(told, str) else None


def _about(zone: str, answer: Answer, issued_at: datetime | None) -> SeriesInfo:
    return SeriesInfo(
        zone=zone,
        provider=INFO.name,
        accounting=INFO.accounting,
        source=INFO.title,
        licence=INFO.licence,
        issued_at=issued_at,
        notes=("electricity-maps did not answer: what it said earlier is used",)
        if answer.stale
        else (),
    )
