"""Energy-Charts of Fraunhofer ISE: no key, European countries, to the end of tomorrow."""

from __future__ import annotations

from datetime import UTC, datetime

from carbon_trainer.grid.providers.base import ProviderError, ProviderInfo
from carbon_trainer.grid.providers.http import Answer, Web
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo

URL = "https://api.energy-charts.info"
INFO = ProviderInfo(
    name="energy-charts",
    title="Energy-Charts, Fraunhofer ISE",
    zones="European countries: DE, FR, …",
    accounting="average lifecycle",
    step_minutes=15,
    forecast_hours=36,
    keys=(),
    licence="CC BY 4.0",
)


class EnergyCharts:
    """Asks api.energy-charts.info."""

    info = INFO

    def __init__(self, web: Web, url: str = URL) -> None:
        self._web = web
        self._url = url

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the rest of today and tomorrow."""
        answer = self._web.json(f"{self._url}/co2eq_forecast", {"country": zone.lower()})
        points = [
            point for point in _points(answer) if point[0].timestamp() >= now.timestamp() - 900
        ]
        return from_points(_about(zone, answer, now), points, INFO.step_minutes)

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was."""
        span = {"start": _minute(start), "end": _minute(end)}
        answer = self._web.json(f"{self._url}/co2eq", {"country": zone.lower(), **span})
        points = [point for point in _points(answer) if start <= point[0] < end]
        return from_points(_about(zone, answer, None), points, INFO.step_minutes)


def _points(answer: Answer) -> list[Point]:
    """Merge what was observed and what is forecast: an observation goes before a forecast."""
    try:
        times = answer.body["unix_seconds"]
        observed = answer.body.get("co2eq") or [None] * len(times)
        forecast = answer.body.get("co2eq_forecast") or [None] * len(times)
        return [
            (
                datetime.fromtimestamp(when, UTC),
                ahead if seen is None else seen,
                Basis.FORECAST if seen is None else Basis.OBSERVED,
            )
            for when, seen, ahead in zip(times, observed, forecast, strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProviderError(
            "energy-charts gave an answer of an unknown form: try again later"
        ) from None


def _about(zone: str, answer: Answer, issued_at: datetime | None) -> SeriesInfo:
    return SeriesInfo(
        zone=zone,
        provider=INFO.name,
        accounting=INFO.accounting,
        source=INFO.title,
        licence=INFO.licence,
        issued_at=issued_at,
        notes=("energy-charts did not answer: what it said earlier is used",)
        if answer.stale
        else (),
    )


def _minute(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
