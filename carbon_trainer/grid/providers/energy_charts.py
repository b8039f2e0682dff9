"""Energy-Charts of Fraunhofer ISE: no key, European countries, to the end of tomorrow."""

from __future__ import annotations

from datetime import UTC, datetime

from carbon_trainer.grid.providers.base import Provider, ProviderError, ProviderInfo, utc_text
from carbon_trainer.grid.providers.http import Answer
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries

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


class EnergyCharts(Provider):
    """Asks api.energy-charts.info."""

    info = INFO
    public_url = URL

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the rest of today and tomorrow."""
        answer = self._web.json(f"{self._url}/co2eq_forecast", {"country": zone.lower()})
        # The answer covers all of today; a quarter of an hour before now is the slot that is on.
        points = [
            point for point in _points(answer) if point[0].timestamp() >= now.timestamp() - 900
        ]
        # The service does not say when it issued a forecast.
        info = self._series_info(zone, stale=answer.stale, issued_at=now)
        return from_points(info, points, INFO.step_minutes)

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was observed."""
        span = {"start": utc_text(start), "end": utc_text(end)}
        answer = self._web.json(f"{self._url}/co2eq", {"country": zone.lower(), **span})
        points = [point for point in _points(answer) if start <= point[0] < end]
        return from_points(self._series_info(zone, stale=answer.stale), points, INFO.step_minutes)


def _points(answer: Answer) -> list[Point]:
    """Merge observations and forecasts: where there are both, the observation counts."""
    try:
        times = answer.body["unix_seconds"]
        observed = answer.body.get("co2eq") or [None] * len(times)
        forecast = answer.body.get("co2eq_forecast") or [None] * len(times)
        return [
            (
                datetime.fromtimestamp(when, UTC),
                predicted if actual is None else actual,
                Basis.FORECAST if actual is None else Basis.OBSERVED,
            )
            for when, actual, predicted in zip(times, observed, forecast, strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProviderError(
            "energy-charts answered in an unknown format: try again later"
        ) from None
