"""Writes figures, times and lengths of time for people, the same in every locale."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from carbon_trainer.reports.figures.figure import Figure

MISSING_TEXT = "missing"

_STEPS = {
    "kWh": ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh"), (1e-3, "Wh"), (1e-6, "mWh")),
    "kgCO2e": ((1e3, "tCO2e"), (1.0, "kgCO2e"), (1e-3, "gCO2e"), (1e-6, "mgCO2e")),
    "W": ((1e6, "MW"), (1e3, "kW"), (1.0, "W"), (1e-3, "mW")),
    "tokens/kWh": ((1e9, "G tokens/kWh"), (1e6, "M tokens/kWh"), (1.0, "tokens/kWh")),
    "kWh/million tokens": (
        (1e3, "MWh/million tokens"),
        (1.0, "kWh/million tokens"),
        (1e-3, "Wh/million tokens"),
        (1e-6, "mWh/million tokens"),
    ),
}
_COUNTS = ("steps", "tokens")
_MOST_DIGITS = 6


def figure_text(figure: Figure, *, like: Figure | None = None) -> str:
    """Write a figure with its unit and, where it has one, one sigma: ``12.4 ± 0.6 Wh``.

    Args:
        figure: what to write.
        like: a figure of the same unit whose scale to use, so that a table can be compared.
    """
    if figure.value is None:
        return MISSING_TEXT
    if figure.unit == "s":
        return duration_text(figure.value)
    if figure.unit == "times":
        return f"{number_text(figure.value, 3)} times"
    if figure.unit == "FLOP":
        return f"{figure.value:.1e} FLOP"
    if figure.low is not None and figure.high is not None:
        factor, unit = unit_for(figure.high, figure.unit)
        low, high = number_text(figure.low / factor, 2), number_text(figure.high / factor, 2)
        return f"{low} to {high} {unit}"
    if figure.unit in _COUNTS:
        return f"{figure.value:,.0f} {figure.unit}"
    scale = figure.value if like is None or like.value is None else like.value
    factor, unit = unit_for(scale, figure.unit)
    if figure.sigma is None:
        return f"{number_text(figure.value / factor)} {unit} ± missing"
    return f"{plus_minus(figure.value / factor, figure.sigma / factor)} {unit}".rstrip()


def unit_for(value: float, unit: str) -> tuple[float, str]:
    """Return the unit in which a value reads best, and what one of it is worth in ``unit``."""
    steps = _STEPS.get(unit)
    if steps is None or value == 0:
        return 1.0, unit
    return next((step for step in steps if abs(value) >= step[0] * 0.9995), steps[-1])


def plus_minus(value: float, sigma: float) -> str:
    """Write ``value ± sigma``, sigma with two digits and the value to the same place."""
    if sigma == 0:
        return number_text(value)
    places = 1 - math.floor(math.log10(sigma))
    size = math.floor(math.log10(abs(value))) if value else 0
    places = max(0, min(places, _MOST_DIGITS - 1 - size))
    return f"{value:,.{places}f} ± {sigma:,.{places}f}"


def number_text(value: float, digits: int = 4) -> str:
    """Write a number with some significant digits and no exponent."""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(places, 15)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent_text(share: float | None) -> str:
    """Write a share as a percentage: ``12.3 %``."""
    if share is None:
        return MISSING_TEXT
    percent = 100 * share
    if 0 < abs(percent) < 0.05:
        return "< 0.1 %"
    return f"{percent:,.1f} %".replace(".0 %", " %")


def time_text(time_ns: int) -> str:
    """Write an instant: ``2026-11-24 03:16:50 UTC``."""
    return f"{_moment(time_ns):%Y-%m-%d %H:%M:%S} UTC"


def time_iso(time_ns: int) -> str:
    """Write an instant as ISO 8601 with milliseconds."""
    return _moment(time_ns).isoformat(timespec="milliseconds")


def duration_text(seconds: float) -> str:
    """Write a length of time: ``2 d 3 h``, ``3 min 12 s``, ``8.4 s``."""
    if seconds < 60:
        return f"{number_text(seconds, 3)} s"
    total_s = round(seconds)
    days, remainder = divmod(total_s, 86_400)
    hours, remainder = divmod(remainder, 3_600)
    minutes, remainder = divmod(remainder, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (remainder, "s")]
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def bytes_text(count: int) -> str:
    """Write a number of bytes: ``12.3 MB``."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{number_text(count / factor, 3)} {unit}"
    return f"{count} B"


def component_text(component: str) -> str:
    """Write a component's name for people."""
    return component.upper() if component in ("gpu", "cpu", "ram") else component


def count_text(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 pause``, ``3 pauses``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def slug(text: str) -> str:
    """Turn a name into one that can stand in a key or an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-") or "other"


def _moment(time_ns: int) -> datetime:
    # Whole microseconds: a float of seconds would not hold the nanoseconds of our age.
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
