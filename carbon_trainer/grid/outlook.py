"""What is to be expected when a forecast ends early, or is not to be had. Pure."""

from __future__ import annotations

import dataclasses

import numpy as np

from carbon_trainer.grid.series import Basis, IntensitySeries, iso, same_accounting

DAY_NS = 86_400 * 10**9
DAYS = 7
"""Past days whose same hour is averaged."""

LEAST_SCALE, MOST_SCALE = 0.5, 2.0
"""How far a forecast's level may move the climatology behind its horizon."""


def extended(
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
        forecast: what is known.
        until_ns: until when.
        climatology: the zone's usual course, from the forecast's start to ``until_ns``.
        past: what was observed.

    Raises:
        InputError: if they count different things.
    """
    if forecast.end_ns >= until_ns:
        return forecast
    end = iso(forecast.end_ns)
    if climatology is not None and climatology.covers(forecast.start_ns, until_ns):
        same_accounting(forecast, climatology)
        usual = climatology.mean(forecast.start_ns, forecast.end_ns)
        level = forecast.mean(forecast.start_ns, forecast.end_ns)
        scale = float(np.clip(level / usual, LEAST_SCALE, MOST_SCALE)) if usual > 0 else 1.0
        later = dataclasses.replace(
            climatology, intensity_gco2e_per_kwh=scale * climatology.intensity_gco2e_per_kwh
        )
        note = f"from {end} on the usual course of the zone is taken, times {scale:.2f}"
        return forecast.followed_by(later.between(forecast.end_ns, until_ns), note)
    if past is not None:
        later = past_days(past, forecast.end_ns, until_ns)
        return forecast.followed_by(later, f"from {end} on the same hours of past days are taken")
    mean = forecast.mean(forecast.start_ns, forecast.end_ns)
    later = IntensitySeries.constant(forecast.info, mean, forecast.end_ns, until_ns)
    return forecast.followed_by(later, f"from {end} on the forecast's mean is taken")


def past_days(past: IntensitySeries, start_ns: int, end_ns: int) -> IntensitySeries:
    """Return the mean of the same hours of up to seven past days, from start to end.

    Args:
        past: what was observed, at least a day of it.
        start_ns: from when on.
        end_ns: until when.
    """
    count = -(-(end_ns - start_ns) // past.step_ns)
    middles = start_ns + past.step_ns * np.arange(count, dtype=np.int64) + past.step_ns // 2
    # Whole days back from the observations' end, so that every one of them lies within.
    back = -(-(middles - past.end_ns) // DAY_NS)
    newest = middles - np.maximum(back, 1) * DAY_NS
    days = [newest - day * DAY_NS for day in range(DAYS)]
    values = np.stack([
        np.where(day >= past.start_ns, past.at(day), np.nan) for day in days
    ])  # fmt: skip
    mean = float(past.intensity_gco2e_per_kwh.mean())
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    averaged = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), mean)
    info = past.info.noted(f"the same hours of up to {DAYS} past days stand for a forecast")
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
    """Return the best that is known of a span, from whatever there is; None if there is nothing.

    In this order: a forecast (old ones too, until their horizon ends), the same hours of past
    days, the climatology.

    Args:
        now_ns: from when on.
        until_ns: until when.
        forecast: the newest forecast that there is.
        past: what was observed.
        climatology: the zone's usual course; must cover the span.
    """
    if forecast is not None and forecast.start_ns <= now_ns < forecast.end_ns:
        return extended(forecast, until_ns, climatology=climatology, past=past)
    if past is not None and past.end_ns - past.start_ns >= DAY_NS:
        first_ns = now_ns // past.step_ns * past.step_ns
        return past_days(past, first_ns, until_ns)
    return climatology
