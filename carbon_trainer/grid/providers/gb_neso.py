"""Great Britain's National Energy System Operator: no key, 48 hours ahead, 17 regions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.grid.providers.base import ProviderError, ProviderInfo
from carbon_trainer.grid.providers.http import Answer, Web
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo

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


class GbNeso:
    """Asks api.carbonintensity.org.uk."""

    info = INFO

    def __init__(self, web: Web, url: str = URL) -> None:
        self._web = web
        self._url = url

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the next 48 hours."""
        begin = now.astimezone(UTC).replace(minute=30 * (now.minute // 30), second=0, microsecond=0)
        region = _region(zone)
        path = f"/intensity/{_minute(begin)}/fw48h"
        if region is not None:
            path = f"/regional{path}/regionid/{region}"
        answer = self._web.json(self._url + path)
        points = _points(answer, Basis.FORECAST)
        return from_points(_about(zone, answer, begin), points, INFO.step_minutes)

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was."""
        region = _region(zone)
        points: list[Point] = []
        stale = False
        while start < end:
            until = min(start + LONGEST, end)
            path = f"/intensity/{_minute(start)}/{_minute(until)}"
            if region is not None:
                path = f"/regional{path}/regionid/{region}"
            answer = self._web.json(self._url + path)
            points += _points(answer, Basis.OBSERVED)
            stale |= answer.stale
            start = until
        return from_points(_about(zone, Answer(None, stale), None), points, INFO.step_minutes)


def _region(zone: str) -> int | None:
    names = ["GB", *(f"GB-{number}" for number in range(1, REGIONS + 1))]
    if zone not in names:
        raise InputError(f"gb-neso has no zone {zone!r}.{did_you_mean(zone, names)} It has GB to "
                         "GB-17")  # fmt: skip
    return None if zone == "GB" else int(zone[3:])


def _points(answer: Answer, basis: Basis) -> list[Point]:
    try:
        data: Any = answer.body["data"]
        rows = data["data"] if isinstance(data, dict) else data
        return [_point(row, basis) for row in rows]
    except (KeyError, TypeError, ValueError):
        raise ProviderError("gb-neso gave an answer of an unknown form: try again later") from None


def _point(row: Any, basis: Basis) -> Point:
    when = datetime.fromisoformat(row["from"])
    values = row["intensity"]
    actual = values.get("actual")
    if basis is Basis.OBSERVED and actual is None:
        # A forecast stands in until the settlement period is metered; regions are modelled only.
        return when, values["forecast"], Basis.ESTIMATED
    return when, actual if basis is Basis.OBSERVED else values["forecast"], basis


def _about(zone: str, answer: Answer, issued_at: datetime | None) -> SeriesInfo:
    return SeriesInfo(
        zone=zone,
        provider=INFO.name,
        accounting=INFO.accounting,
        source=INFO.title,
        licence=INFO.licence,
        issued_at=issued_at,
        notes=("gb-neso did not answer: what it said earlier is used",) if answer.stale else (),
    )


def _minute(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
