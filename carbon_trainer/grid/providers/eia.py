"""The US Energy Information Administration: a key, hourly generation by fuel, no forecast."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers.base import Provider, ProviderError, ProviderInfo, utc_text
from carbon_trainer.grid.providers.fuels import intensity, unknown_note
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries

URL = "https://api.eia.gov"
KEY = "EIA_API_KEY"
ROWS = 5000
"""The most rows that the service returns at once."""

HOUR = "%Y-%m-%dT%H"

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


class Eia(Provider):
    """Asks api.eia.gov; intensity is computed from generation, imports left out."""

    info = INFO
    public_url = URL

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Raise: there is none."""
        raise InputError("eia has no forecasts: ask it for history, with --last 7d")

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was observed, computed from generation."""
        (key,) = self._keys
        mixes: dict[datetime, dict[str, float]] = defaultdict(dict)
        offset, total, stale = 0, 1, False
        while offset < total:
            answer = self._web.json(
                f"{self._url}/v2/electricity/rto/fuel-type-data/data/",
                {
                    "frequency": "hourly", "data[0]": "value", "facets[respondent][]": zone,
                    "start": utc_text(start, HOUR), "end": utc_text(end, HOUR),
                    "offset": offset, "length": ROWS, "api_key": key,
                },
            )  # fmt: skip
            rows, total = _rows(answer.body)
            for when, fuel, power_mw in rows:
                mixes[when][fuel] = mixes[when].get(fuel, 0.0) + power_mw
            # One old page makes the whole series an old one.
            stale |= answer.stale
            offset += ROWS
        points: list[Point] = []
        unknown_shares = []
        for when, mix in mixes.items():
            # The answer may hold the end's hour too.
            if start <= when < end:
                value, unknown_share = intensity(mix) or (None, None)
                points.append((when, value, Basis.ESTIMATED))
                unknown_shares += [] if unknown_share is None else [unknown_share]
        info = self._series_info(zone, stale=stale, notes=unknown_note(unknown_shares))
        return from_points(info, points, INFO.step_minutes)


def _rows(body: Any) -> tuple[list[tuple[datetime, str, float]], int]:
    """Return (hour, fuel, MW), and how many rows there are in all; values come as strings."""
    try:
        rows = [
            (
                datetime.fromisoformat(f"{row['period']}:00+00:00"),
                FUELS.get(row["fueltype"], "other"),
                float(row["value"]),
            )
            for row in body["response"]["data"]
            if row["value"] is not None
        ]
        return rows, int(body["response"]["total"])
    except (KeyError, TypeError, ValueError):
        raise ProviderError("eia answered in an unknown format: try again later") from None
