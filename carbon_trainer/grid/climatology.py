"""A zone's typical daily profile: its annual mean, shaped by month and hour where data are open.

The shapes in ``data/climatology.csv`` are means over month and hour (UTC) of hourly years, as
ratios to the year's mean; ``data/README.md`` says whose.
"""

from __future__ import annotations

from importlib.resources import files
from io import StringIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.grid.intensity import Intensity
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo

HOUR_NS = 3600 * NS_PER_S
SHAPED = {"US-CA": "US-CAL-CISO", "US-CAL-CISO": "US-CAL-CISO", "ES": "ES", "NO": "NO"}
"""Zones with a shape, and its name in the data."""

SHAPE_SOURCE = "shape: Electricity Maps, by umassos/decarbonization-potential, ODbL"


def profile_of(series: IntensitySeries) -> NDArray[np.float64]:
    """Return a series' means by month and hour (UTC) as ratios to its mean, shape (12, 24)."""
    index = series.index
    frame = pd.DataFrame(
        {"month": index.month, "hour": index.hour, "value": series.intensity_gco2e_per_kwh}
    )
    table = frame.pivot_table(index="month", columns="hour", values="value", aggfunc="mean")
    complete = table.reindex(index=range(1, 13), columns=range(24))
    ratios = complete.to_numpy(float) / float(series.intensity_gco2e_per_kwh.mean())
    # Hours that the series lacks are taken as its mean.
    return np.asarray(np.where(np.isnan(ratios), 1.0, ratios), np.float64)


def climatology(mean: Intensity, start_ns: int, end_ns: int) -> IntensitySeries:
    """Return a zone's typical daily profile between two instants, in hours.

    Args:
        mean: the zone's mean over a year.
        start_ns: from when on; the series begins with its hour.
        end_ns: until when.
    """
    first_ns = start_ns // HOUR_NS * HOUR_NS
    count = -(-(end_ns - first_ns) // HOUR_NS)
    profile = _shape(mean.zone)
    note = (
        f"climatology: the mean of {mean.vintage} by month and hour of the day, not a forecast"
        if profile is not None
        else f"climatology: the mean of {mean.vintage} stands for every hour, as there are no "
        f"open data on the course of a day in {mean.zone_name}"
    )
    info = SeriesInfo(
        zone=mean.zone,
        provider="climatology",
        accounting=mean.accounting,
        source=mean.source if profile is None else f"{mean.source}; {SHAPE_SOURCE}",
        licence=mean.licence if profile is None else f"{mean.licence}; ODbL",
        notes=(note,),
    )
    ratios = np.ones(count)
    if profile is not None:
        times = pd.DatetimeIndex(first_ns + HOUR_NS * np.arange(count), tz="UTC")
        ratios = profile[times.month - 1, times.hour]
    basis = Basis.CONSTANT if profile is None else Basis.CLIMATOLOGY
    return IntensitySeries(
        info,
        first_ns,
        HOUR_NS,
        mean.intensity_gco2e_per_kwh * ratios,
        np.full(count, basis, np.uint8),
    )


def _shape(zone: str) -> NDArray[np.float64] | None:
    name = SHAPED.get(zone)
    if name is None:
        return None
    text = (files("carbon_trainer.grid") / "data" / "climatology.csv").read_text(encoding="utf-8")
    table = pd.read_csv(StringIO(text), comment="#")
    return table.loc[table["zone"] == name].iloc[:, 2:].to_numpy(float)
