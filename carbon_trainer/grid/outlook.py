"""What to expect beyond a forecast's horizon, or without one. Pure."""

from __future__ import annotations

import dataclasses

import numpy as np

from carbon_trainer.grid.series import Basis, IntensitySeries, iso, same_accounting

DAY_NS = 86_400 * 10**9
DAYS = 7
"""Past days whose same hour is averaged."""

LEAST_SCALE, MOST_SCALE = 0.5, 2.0
"""How far a forecast's level may move the climatology beyond its horizon."""


def extend_forecast(
    forecast: IntensitySeries,
    until_ns: int,
    *,
    climatology: IntensitySeries | None = None,
    past: IntensitySeries | None = None,
) -> IntensitySeries:
    """Return a forecast continued to an instant; what continues it is noted and marked.

    First by the climatology scaled to the forecast's level, else by the same hour of past days,
    else by the forecast's mean.

    Args:
        forecast: the forecast.
        until_ns: until when.
        climatology: the zone's typical daily profile, from the forecast's start to ``until_ns``.
        past: what was observed.

    Raises:
        InputError: if they count different things.
    """
    if forecast.end_ns >= until_ns:
        return forecast
    end = iso(forecast.end_ns)
    if climatology is not None and climatology.covers(forecast.start_ns, until_ns):
        same_accounting(forecast, climatology)
        # The shape is the climatology's, the level the forecast's.
        typical = climatology.mean(forecast.start_ns, forecast.end_ns)
        level = forecast.mean(forecast.start_ns, forecast.end_ns)
        scale = float(np.clip(level / typical, LEAST_SCALE, MOST_SCALE)) if typical > 0 else 1.0
        later = dataclasses.replace(
            climatology, intensity_gco2e_per_kwh=scale * climatology.intensity_gco2e_per_kwh
        )
        note = f"from {end} on the zone's typical daily profile is used, times {scale:.2f}"
        return forecast.extend(later.between(forecast.end_ns, until_ns), note)
    if past is not None:
        later = past_days_mean(past, forecast.end_ns, until_ns)
        return forecast.extend(later, f"from {end} on the same hours of past days are used")
    mean = forecast.mean(forecast.start_ns, forecast.end_ns)
    later = IntensitySeries.constant(forecast.info, mean, forecast.end_ns, until_ns)
    return forecast.extend(later, f"from {end} on the forecast's mean is used")


def past_days_mean(past: IntensitySeries, start_ns: int, end_ns: int) -> IntensitySeries:
    """Return the mean of the same hours of up to seven past days, from start to end.

    Args:
        past: what was observed, at least a day of it.
        start_ns: from when on.
        end_ns: until when.
    """
    count = -(-(end_ns - start_ns) // past.step_ns)
    middles = start_ns + past.step_ns * np.arange(count, dtype=np.int64) + past.step_ns // 2
    # Whole days back from the observations' end, so that every one of them lies within.
    days_back = -(-(middles - past.end_ns) // DAY_NS)
    newest = middles - np.maximum(days_back, 1) * DAY_NS
    days = [newest - day * DAY_NS for day in range(DAYS)]
    values = np.stack([
        np.where(day >= past.start_ns, past.at(day), np.nan) for day in days
    ])  # fmt: skip
    mean = float(past.intensity_gco2e_per_kwh.mean())
    is_observed = np.isfinite(values)
    count_days = is_observed.sum(axis=0)
    total = np.where(is_observed, values, 0.0).sum(axis=0)
    averaged = np.where(count_days > 0, total / np.maximum(count_days, 1), mean)
    info = past.info.with_notes(f"the same hours of up to {DAYS} past days are used as a forecast")
    basis = np.full(count, Basis.PAST_DAYS, np.uint8)
    return IntensitySeries(info, start_ns, past.step_ns, averaged, basis)


def outlook(
    now_ns: int,
    until_ns: int,
    *,
    forecast: IntensitySeries | None = None,
    past: IntensitySeries | None = None,
    climatology: IntensitySeries | None = None,
) -> IntensitySeries | None:
    """Return the best estimate for a span from the data there are; None if there are none.

    In this order: a forecast (old ones too, until their horizon ends), the same hours of past
    days, the climatology.

    Args:
        now_ns: from when on.
        until_ns: until when.
        forecast: the newest forecast that there is.
        past: what was observed.
        climatology: the zone's typical daily profile; must cover the span.
    """
    if forecast is not None and forecast.start_ns <= now_ns < forecast.end_ns:
        return extend_forecast(forecast, until_ns, climatology=climatology, past=past)
    if past is not None and past.end_ns - past.start_ns >= DAY_NS:
        first_ns = now_ns // past.step_ns * past.step_ns
        return past_days_mean(past, first_ns, until_ns)
    return climatology
