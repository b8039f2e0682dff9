"""WattTime: a user and a password, marginal intensity, up to 72 hours ahead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers.base import ProviderError, ProviderInfo
from carbon_trainer.grid.providers.http import Answer, Web
from carbon_trainer.grid.providers.points import Point, from_points
from carbon_trainer.grid.series import GRAMS_PER_POUND, Basis, IntensitySeries, SeriesInfo

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


class WattTime:
    """Asks api.watttime.org; a token that has expired is fetched anew, once.

    Raises:
        InputError: if there is no user or no password.
    """

    info = INFO

    def __init__(self, web: Web, user: str | None, password: str | None, url: str = URL) -> None:
        if not user or not password:
            raise InputError(f"watttime needs {USER} and {PASSWORD} in the environment")
        self._web = web
        self._login = user, password
        self._url = url
        self._token: str | None = None

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the newest forecast."""
        answer = self._ask("/v3/forecast", {"region": zone, "horizon_hours": INFO.forecast_hours})
        meta = _meta(answer)
        issued_at = datetime.fromisoformat(meta.get("generated_at") or now.isoformat())
        return from_points(
            _about(zone, answer, issued_at), _points(answer, Basis.FORECAST), INFO.step_minutes
        )

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was."""
        span = {"start": start.astimezone(UTC).isoformat(), "end": end.astimezone(UTC).isoformat()}
        answer = self._ask("/v3/historical", {"region": zone, **span})
        return from_points(
            _about(zone, answer, None), _points(answer, Basis.OBSERVED), INFO.step_minutes
        )

    def _ask(self, path: str, params: dict[str, Any]) -> Answer:
        params = {**params, "signal_type": "co2_moer"}
        fresh = self._token is None
        try:
            return self._web.json(self._url + path, params, headers=self._bearer())
        except InputError:
            if fresh:
                raise
            self._token = None
            return self._web.json(self._url + path, params, headers=self._bearer())

    def _bearer(self) -> dict[str, str]:
        if self._token is None:
            answer = self._web.json(
                f"{self._url}/login",
                auth=requests.auth.HTTPBasicAuth(*self._login),
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
        told = meta.get("units") if isinstance(meta, dict) else None
        raise ProviderError(
            f"watttime answered in {told or 'an unknown unit'}, not in {UNITS}: your plan may give "
            "this region's index only"
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
        raise ProviderError("watttime gave an answer of an unknown form: try again later") from None


def _about(zone: str, answer: Answer, issued_at: datetime | None) -> SeriesInfo:
    warnings = _meta(answer).get("warnings") or ()
    stale = ("watttime did not answer: what it said earlier is used",) if answer.stale else ()
    return SeriesInfo(
        zone=zone,
        provider=INFO.name,
        accounting=INFO.accounting,
        source=INFO.title,
        licence=INFO.licence,
        issued_at=issued_at,
        notes=(*stale, *(f"watttime warns: {_text(warning)}" for warning in warnings)),
    )


def _text(warning: Any) -> str:
    return str(warning.get("message", warning)) if isinstance(warning, dict) else str(warning)
