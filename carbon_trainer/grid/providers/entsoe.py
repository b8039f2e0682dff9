"""ENTSO-E's transparency platform: a key, European generation by type, through entsoe-py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import requests

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers.base import Provider, ProviderError, ProviderInfo
from carbon_trainer.grid.providers.fuels import intensity, unknown_note
from carbon_trainer.grid.providers.http import Web
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import Basis, IntensitySeries

KEY = "ENTSOE_API_KEY"
FUELS = {
    "Biomass": "biomass", "Fossil Brown coal/Lignite": "coal", "Fossil Hard coal": "coal",
    "Fossil Peat": "coal", "Fossil Gas": "gas", "Fossil Coal-derived gas": "gas",
    "Fossil Oil": "oil", "Fossil Oil shale": "oil", "Geothermal": "geothermal",
    "Hydro Pumped Storage": "hydro", "Hydro Run-of-river and poundage": "hydro",
    "Hydro Water Reservoir": "hydro", "Marine": "marine", "Nuclear": "nuclear", "Solar": "solar",
    "Wind Offshore": "wind", "Wind Onshore": "wind",
}  # fmt: skip
INFO = ProviderInfo(
    name="entsoe",
    title="ENTSO-E, actual generation per type, with IPCC AR5 life-cycle factors",
    zones="European bidding zones: DE_LU, FR, NO_2, …",
    accounting="average lifecycle",
    step_minutes=60,
    forecast_hours=0,
    keys=(KEY,),
    licence="ENTSO-E Transparency Platform: free re-use with attribution",
)


class Entsoe(Provider):
    """Asks web-api.tp.entsoe.eu; intensity is computed from generation, imports left out.

    Raises:
        InputError: if there is no key, or entsoe-py is not installed.
    """

    info = INFO

    def __init__(self, web: Web, environ: Mapping[str, str], url: str | None = None) -> None:
        super().__init__(web, environ, url)
        (key,) = self._keys
        try:
            from entsoe.entsoe import EntsoePandasClient
        except ImportError:
            raise InputError(
                "entsoe needs entsoe-py: pip install 'carbon-trainer[entsoe]'"
            ) from None
        # Its own retries would wait on top of the session's.
        self._client: Any = EntsoePandasClient(
            api_key=key, session=web.session, retry_count=1, retry_delay=0, timeout=web.timeout_s
        )

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Raise: there is none."""
        raise InputError("entsoe has no forecasts: ask it for history, with --last 7d")

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was observed, hourly means, computed from generation."""
        frame = _query(
            lambda: self._client.query_generation(
                zone, start=pd.Timestamp(start), end=pd.Timestamp(end), nett=True
            ),
            zone,
        )
        # Bidding zones report by the quarter, the half or the whole hour.
        hourly = frame.tz_convert("UTC").resample("1h").mean()
        hourly = hourly[(hourly.index >= start) & (hourly.index < end)]
        points: list[Point] = []
        unknown_shares = []
        for when, row in zip(hourly.index, hourly.to_dict("records"), strict=True):
            value, unknown_share = intensity(_mix(row)) or (None, None)
            points.append((when.to_pydatetime(), value, Basis.ESTIMATED))
            unknown_shares += [] if unknown_share is None else [unknown_share]
        info = self._series_info(zone, notes=unknown_note(unknown_shares))
        return from_points(info, points, INFO.step_minutes)


def _mix(row: dict[Any, float]) -> dict[str, float]:
    mix: dict[str, float] = {}
    for name, power_mw in row.items():
        fuel = FUELS.get(str(name), "other")
        if power_mw > 0:
            mix[fuel] = mix.get(fuel, 0.0) + power_mw
    return mix


def _query(query: Callable[[], pd.DataFrame], zone: str) -> pd.DataFrame:
    from entsoe.exceptions import NoMatchingDataError

    try:
        return query()
    except NoMatchingDataError:
        raise ProviderError(f"entsoe has no generation of {zone} in that time") from None
    except (ValueError, KeyError) as error:
        raise InputError(
            f"entsoe does not know the zone {zone!r}: give one such as DE_LU"
        ) from error
    except requests.HTTPError as error:
        code = error.response.status_code
        if code == requests.codes.unauthorized:
            raise InputError(f"entsoe does not accept the key: set {KEY} to a valid one") from None
        raise ProviderError(f"entsoe answered {code}: try again later") from None
    except requests.RequestException:
        # The error's text may hold the key, which is part of the address.
        raise ProviderError("entsoe could not be reached, or did not answer in time") from None
