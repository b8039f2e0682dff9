"""WattTime: a user and a password, marginal intensity, up to 72 hours ahead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers.base import Provider, ProviderError, ProviderInfo
from carbon_trainer.grid.providers.http import Answer
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import GRAMS_PER_POUND, Basis, IntensitySeries

URL = "https://api.watttime.org"
USER, PASSWORD = "WATTTIME_USER", "WATTTIME_PASSWORD"
UNITS = "lbs_co2_per_mwh"
INFO = ProviderInfo(
    name="watttime",
    title="WattTime v3, marginal operating emissions rate",
    zones="WattTime's regions: CAISO_NORTH, …",
    accounting="marginal direct",
    step_minutes=5,
    forecast_hours=72,
    keys=(USER, PASSWORD),
    licence="WattTime's terms; not for redistribution",
)


class WattTime(Provider):
    """Asks api.watttime.org; a token that has expired is renewed, once."""

    info = INFO
    public_url = URL
    _token: str | None = None

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the newest forecast."""
        answer = self._get("/v3/forecast", {"region": zone, "horizon_hours": INFO.forecast_hours})
        issued_at = datetime.fromisoformat(_meta(answer).get("generated_at") or now.isoformat())
        return self._series(zone, answer, Basis.FORECAST, issued_at)

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was observed."""
        span = {"start": start.astimezone(UTC).isoformat(), "end": end.astimezone(UTC).isoformat()}
        answer = self._get("/v3/historical", {"region": zone, **span})
        return self._series(zone, answer, Basis.OBSERVED)

    def _series(
        self, zone: str, answer: Answer, basis: Basis, issued_at: datetime | None = None
    ) -> IntensitySeries:
        warnings = _meta(answer).get("warnings") or ()
        info = self._series_info(
            zone,
            stale=answer.stale,
            issued_at=issued_at,
            notes=(f"watttime warns: {_text(warning)}" for warning in warnings),
        )
        return from_points(info, _points(answer, basis), INFO.step_minutes)

    def _get(self, path: str, params: dict[str, Any]) -> Answer:
        params = {**params, "signal_type": "co2_moer"}
        is_new = self._token is None
        try:
            return self._web.json(self._url + path, params, headers=self._bearer())
        except InputError:
            # Tokens last for half an hour. An expired one is refused as a wrong one is, so only a
            # refusal of a new one is the user's error.
            if is_new:
                raise
            self._token = None
            return self._web.json(self._url + path, params, headers=self._bearer())

    def _bearer(self) -> dict[str, str]:
        if self._token is None:
            answer = self._web.json(
                f"{self._url}/login",
                auth=requests.auth.HTTPBasicAuth(*self._keys),
                expire_after=0,
            )
            try:
                self._token = str(answer.body["token"])
            except (KeyError, TypeError):
                raise ProviderError("watttime gave no token: try again later") from None
        return {"Authorization": f"Bearer {self._token}"}


def _meta(answer: Answer) -> dict[str, Any]:
    meta = answer.body.get("meta") if isinstance(answer.body, dict) else None
    if not isinstance(meta, dict) or meta.get("units") != UNITS:
        units = meta.get("units") if isinstance(meta, dict) else None
        raise ProviderError(
            f"watttime answered in {units or 'an unknown unit'}, not in {UNITS}: your plan may "
            "give this region's index only"
        )
    return meta


def _points(answer: Answer, basis: Basis) -> list[Point]:
    _meta(answer)
    try:
        return [
            (
                datetime.fromisoformat(row["point_time"]),
                None if row["value"] is None else row["value"] * GRAMS_PER_POUND / 1000,
                basis,
            )
            for row in answer.body["data"]
        ]
    except (KeyError, TypeError, ValueError):
        raise ProviderError("watttime answered in an unknown format: try again later") from None


def _text(warning: Any) -> str:
    return str(warning.get("message", warning)) if isinstance(warning, dict) else str(warning)
