"""The expected intensity of a zone's grid, kept up to date while a run trains."""

from __future__ import annotations

import dataclasses
import logging
import threading
from datetime import datetime
from pathlib import Path
from typing import Literal

from carbon_trainer.clock import NS_PER_S, Clock, to_datetime
from carbon_trainer.durations import ns_of
from carbon_trainer.errors import InputError
from carbon_trainer.grid.climatology import climatology
from carbon_trainer.grid.csv import read_csv
from carbon_trainer.grid.intensity import Intensity
from carbon_trainer.grid.outlook import extend_forecast, outlook
from carbon_trainer.grid.providers import provider
from carbon_trainer.grid.providers.base import ProviderError
from carbon_trainer.grid.series import Basis, IntensitySeries, iso
from carbon_trainer.grid.store import Store, issued_note
from carbon_trainer.grid.zones import ZoneFactors

log = logging.getLogger(__name__)


def expected_intensity(
    zone: str, name: str | None, begin: datetime, end: datetime
) -> IntensitySeries:
    """Return what is expected of a zone, by a provider if one is named, else by climatology.

    A provider that does not answer is replaced by its last forecast until that one's horizon
    ends, else by the same hours of the past days that were fetched, else by the climatology; a
    note says which.
    """
    start_ns, end_ns = ns_of(begin), ns_of(end)
    if name is None:
        return climatology(ZoneFactors().intensity(zone), start_ns, end_ns)
    store = Store()
    try:
        forecast = provider(name).forecast(zone, begin)
        store.put(name, zone, "forecast", forecast)
        return extend_forecast(forecast, end_ns, climatology=_daily_profile(zone, forecast, end_ns))
    except ProviderError as error:
        reason = str(error)
    old = store.newest(name, zone, "forecast")
    past = store.newest(name, zone, "history")
    if old is not None and old.start_ns <= start_ns < old.end_ns:
        old = dataclasses.replace(old, info=old.info.with_notes(issued_note(old)))
        profile = _daily_profile(zone, old, end_ns)
    else:
        old, profile = None, climatology(ZoneFactors().intensity(zone), start_ns, end_ns)
    series = outlook(start_ns, end_ns, forecast=old, past=past, climatology=profile)
    if series is profile and profile is not None:
        reason += "; the zone's typical daily profile is used instead"
    if series is None:
        raise InputError(f"{reason}; there are no other data on {zone}")
    return dataclasses.replace(series, info=series.info.with_notes(reason))


def _daily_profile(zone: str, forecast: IntensitySeries, end_ns: int) -> IntensitySeries | None:
    """Return the zone's typical daily profile, if it counts what a forecast does."""
    try:
        profile = climatology(ZoneFactors().intensity(zone), forecast.start_ns, end_ns)
    except InputError:
        return None  # a provider may know zones that the yearly means do not
    return profile if profile.info.accounting == forecast.info.accounting else None


REFRESH_S = 1800.0
"""How often a provider is asked for a new forecast, seconds; most issue one each half-hour."""

SERIES_UNCERTAINTY = 0.1
"""Relative error (one sigma) of an hour's intensity of a provider or a trace. Assumed:
providers publish none for most zones."""

CLIMATOLOGY_UNCERTAINTY = 0.28
"""Relative error (one sigma) of a zone's typical daily profile in one hour: no less than that of
the annual mean that it is shaped from (``zones.ANNUAL_MEAN_UNCERTAINTY``)."""

_METHODS: dict[Basis, Literal["estimated", "assumed"]] = {Basis.CONSTANT: "assumed"}


class Forecasts:
    """A zone's intensity from now to a deadline, as it is known at any moment.

    A provider is asked in a thread, so that training never waits for the network.

    Args:
        zone: the grid; None for the world's average.
        name: the provider; None for the zone's typical daily profile.
        trace: a CSV that takes precedence over both.
        deadline_ns: until when the intensity is needed.
        clock: the time.

    Raises:
        InputError: if the trace cannot be read, or there is no such provider.
    """

    def __init__(
        self, zone: str | None, name: str | None, trace: Path | None, deadline_ns: int, clock: Clock
    ) -> None:
        self._zone = zone
        self._name = name
        self._deadline_ns = deadline_ns
        self._clock = clock
        self._mean = ZoneFactors().intensity(zone)
        self._thread: threading.Thread | None = None
        now_ns = clock.now_ns()
        # An hour more than the deadline, so that a run that is late still has an intensity.
        until_ns = max(deadline_ns, now_ns) + 3600 * NS_PER_S
        if trace is not None:
            self._series = _until(read_csv(trace), now_ns, until_ns)
        else:
            self._series = climatology(self._mean, now_ns, until_ns)
        self._has_service = trace is None and name is not None
        if name is not None:
            # A wrong name or a missing key is the user's error, so it is raised here.
            provider(name)
        self._request_ns = 0
        self.problem: str | None = None

    def newest(self) -> IntensitySeries:
        """Return the series until an hour after the deadline; start a new request if one is due."""
        now_ns = self._clock.now_ns()
        is_due = now_ns - self._request_ns >= REFRESH_S * NS_PER_S
        is_busy = self._thread is not None and self._thread.is_alive()
        if self._has_service and is_due and not is_busy:
            self._request_ns = now_ns
            self._thread = threading.Thread(target=self._refresh, name="forecast", daemon=True)
            self._thread.start()
        return self._series

    def intensity(self, time_ns: int) -> tuple[Intensity, int]:
        """Return the intensity of an instant, and until when it holds (ns)."""
        series = self._series
        slot = int(min(max((time_ns - series.start_ns) // series.step_ns, 0), len(series) - 1))
        basis = Basis(series.basis[slot])
        is_typical = basis in (Basis.CLIMATOLOGY, Basis.CONSTANT)
        intensity = Intensity(
            zone=series.info.zone,
            zone_name=self._mean.zone_name if self._zone else series.info.zone,
            intensity_gco2e_per_kwh=float(series.intensity_gco2e_per_kwh[slot]),
            method=self._mean.method if is_typical else _METHODS.get(basis, "estimated"),
            accounting=series.info.accounting,
            source=f"{series.info.source}, {basis.text}",
            vintage=f"{series.time(slot):%Y-%m-%dT%H:%MZ}",
            licence=series.info.licence,
            uncertainty=CLIMATOLOGY_UNCERTAINTY if is_typical else SERIES_UNCERTAINTY,
            uncertainty_basis="that of the annual mean" if is_typical else "assumed",
        )
        return intensity, series.start_ns + (slot + 1) * series.step_ns

    def _refresh(self) -> None:
        begin = to_datetime(self._clock.now_ns())
        end = to_datetime(self._deadline_ns + 3600 * NS_PER_S)
        try:
            self._series = expected_intensity(self._zone or "", self._name, begin, max(begin, end))
            self.problem = None
        except Exception as error:
            # Whatever fails, training goes on with the series that it has.
            log.debug("forecast", exc_info=True)
            self.problem = f"{type(error).__name__}: {error}"


def _until(trace: IntensitySeries, now_ns: int, until_ns: int) -> IntensitySeries:
    """Return a trace continued to an instant by the same hours of its past days."""
    if not trace.start_ns <= now_ns < trace.end_ns:
        raise InputError(
            f"the trace does not cover now, {iso(now_ns)}: it runs from {iso(trace.start_ns)} to "
            f"{iso(trace.end_ns)}"
        )
    return extend_forecast(trace, until_ns, past=trace)
