"""The US Energy Information Administration: a key, hourly generation by fuel, no forecast."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers.base import ProviderError, ProviderInfo
from carbon_trainer.grid.providers.fuels import intensity, unknown_note
from carbon_trainer.grid.providers.http import Web
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo

URL = "https://api.eia.gov"
KEY = "EIA_API_KEY"
ROWS = 5000
"""The service gives no more rows at once."""

FUELS = {
    "COL": "coal", "NG": "gas", "NUC": "nuclear", "OIL": "oil", "SUN": "solar", "WAT": "hydro",
    "WND": "wind", "GEO": "geothermal",
}  # fmt: skip
INFO = ProviderInfo(
    name="eia",
    title="US EIA, hourly generation by fuel, with IPCC AR5 life-cycle factors",
    zones="US balancing authorities: CISO, ERCO, PJM, …",
    accounting="average lifecycle",
    step_minutes=60,
    forecast_hours=0,
    keys=(KEY,),
    licence="public domain (US EIA)",
)


class Eia:
    """Asks api.eia.gov; intensity is computed from generation, imports left out.

    Raises:
        InputError: if there is no key.
    """

    info = INFO

    def __init__(self, web: Web, key: str | None, url: str = URL) -> None:
        if not key:
            raise InputError(f"eia needs a key: set {KEY} in the environment")
        self._web = web
        self._key = key
        self._url = url

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Say that there is none."""
        raise InputError("eia has no forecasts: ask it for history, with --last 7d")

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was, computed from generation."""
        mixes: dict[datetime, dict[str, float]] = defaultdict(dict)
        offset, total, stale = 0, 1, False
        while offset < total:
            answer = self._web.json(
                f"{self._url}/v2/electricity/rto/fuel-type-data/data/",
                {
                    "frequency": "hourly", "data[0]": "value", "facets[respondent][]": zone,
                    "start": _hour(start), "end": _hour(end), "offset": offset, "length": ROWS,
                    "api_key": self._key,
                },
            )  # fmt: skip
            rows, total = _rows(answer.body)
            for when, fuel, power_mw in rows:
                mixes[when][fuel] = mixes[when].get(fuel, 0.0) + power_mw
            stale |= answer.stale
            offset += ROWS
        found = {when: intensity(mix) for when, mix in mixes.items() if start <= when < end}
        points: list[Point] = [
            (when, None if mix is None else mix[0], Basis.ESTIMATED) for when, mix in found.items()
        ]
        shares = [mix[1] for mix in found.values() if mix is not None]
        notes = ("eia did not answer: what it said earlier is used",) if stale else ()
        about = SeriesInfo(
            zone=zone,
            provider=INFO.name,
            accounting=INFO.accounting,
            source=INFO.title,
            licence=INFO.licence,
            notes=(*notes, *unknown_note(shares)),
        )
        return from_points(about, points, INFO.step_minutes)


def _rows(body: Any) -> tuple[list[tuple[datetime, str, float]], int]:
    """Return (hour, fuel, MW), and how many rows there are in all; values come as strings."""
    try:
        found = [
            (
                datetime.fromisoformat(f"{row['period']}:00+00:00"),
                FUELS.get(row["fueltype"], "other"),
                float(row["value"]),
            )
            for row in body["response"]["data"]
            if row["value"] is not None
        ]
        return found, int(body["response"]["total"])
    except (KeyError, TypeError, ValueError):
        raise ProviderError("eia gave an answer of an unknown form: try again later") from None


def _hour(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H")
