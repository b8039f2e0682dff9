"""Great Britain's National Energy System Operator: no key, 48 hours ahead, 17 regions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.grid.providers.base import Provider, ProviderError, ProviderInfo, utc_text
from carbon_trainer.grid.providers.http import Answer
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries

URL = "https://api.carbonintensity.org.uk"
REGIONS = 17
LONGEST = timedelta(days=13)
"""The service gives no more than 14 days at once."""

INFO = ProviderInfo(
    name="gb-neso",
    title="Carbon Intensity API, National Energy System Operator (GB)",
    zones="GB, GB-1 to GB-17 (regions)",
    accounting="average direct",
    step_minutes=30,
    forecast_hours=48,
    keys=(),
    licence="CC BY 4.0",
)


class GbNeso(Provider):
    """Asks api.carbonintensity.org.uk."""

    info = INFO
    public_url = URL

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the next 48 hours."""
        # By the half-hour: until the next one the address is the same, and the cache answers.
        begin = now.astimezone(UTC).replace(minute=30 * (now.minute // 30), second=0, microsecond=0)
        region = _region(zone)
        path = f"/intensity/{utc_text(begin)}/fw48h"
        if region is not None:
            path = f"/regional{path}/regionid/{region}"
        answer = self._web.json(self._url + path)
        points = _points(answer, Basis.FORECAST)
        return from_points(
            self._series_info(zone, stale=answer.stale, issued_at=begin), points, INFO.step_minutes
        )

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was observed; half-hours that are not metered yet are estimated."""
        region = _region(zone)
        points: list[Point] = []
        stale = False
        while start < end:
            until = min(start + LONGEST, end)
            path = f"/intensity/{utc_text(start)}/{utc_text(until)}"
            if region is not None:
                path = f"/regional{path}/regionid/{region}"
            answer = self._web.json(self._url + path)
            points += _points(answer, Basis.OBSERVED)
            stale |= answer.stale
            start = until
        return from_points(self._series_info(zone, stale=stale), points, INFO.step_minutes)


def _region(zone: str) -> int | None:
    names = ["GB", *(f"GB-{number}" for number in range(1, REGIONS + 1))]
    if zone not in names:
        raise InputError(f"gb-neso has no zone {zone!r}.{did_you_mean(zone, names)} It has GB to "
                         "GB-17")  # fmt: skip
    return None if zone == "GB" else int(zone[3:])


def _points(answer: Answer, basis: Basis) -> list[Point]:
    try:
        data: Any = answer.body["data"]
        # A region's rows lie one level deeper than the country's.
        rows = data["data"] if isinstance(data, dict) else data
        return [_point(row, basis) for row in rows]
    except (KeyError, TypeError, ValueError):
        raise ProviderError("gb-neso answered in an unknown format: try again later") from None


def _point(row: Any, basis: Basis) -> Point:
    when = datetime.fromisoformat(row["from"])
    values = row["intensity"]
    actual = values.get("actual")
    if basis is Basis.OBSERVED and actual is None:
        # A forecast stands in until the settlement period is metered; regions are modelled only.
        return when, values["forecast"], Basis.ESTIMATED
    return when, actual if basis is Basis.OBSERVED else values["forecast"], basis
