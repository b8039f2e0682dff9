"""From the points that a service lists to a series without gaps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np

from carbon_trainer.grid.providers.base import ProviderError
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo, iso

LONGEST_GAP_NS = 3 * 3600 * 10**9
Point = tuple[datetime, float | None, Basis]


def from_points(info: SeriesInfo, points: Iterable[Point], step_minutes: int) -> IntensitySeries:
    """Return the series of points (start, g/kWh or None, basis), in any order.

    Short gaps are interpolated, noted and marked; what lies before the first and behind the last
    known value is left off.

    Raises:
        ProviderError: if there are no values, or a gap of over three hours.
    """
    step_ns = step_minutes * 60 * 10**9
    known = {_ns(when): (value, basis) for when, value, basis in points if value is not None}
    if not known:
        raise ProviderError(f"{info.source} has no values for {info.zone} in that time")
    first = min(known)
    places = {(time_ns - first) // step_ns: entry for time_ns, entry in known.items()}
    count = max(places) + 1
    values = np.full(count, np.nan)
    basis = np.full(count, Basis.INTERPOLATED, np.uint8)
    for place, (value, its_basis) in places.items():
        values[place], basis[place] = value, its_basis
    missing = np.isnan(values)
    have = np.flatnonzero(~missing)
    longest = int(np.diff(have).max(initial=1)) - 1
    if longest * step_ns > max(LONGEST_GAP_NS, step_ns):
        at = first + int(have[int(np.diff(have).argmax())] + 1) * step_ns
        raise ProviderError(
            f"{info.source} tells nothing of {info.zone} for {longest * step_minutes / 60:.1f} "
            f"hours from {iso(at)}: ask for another time"
        )
    if missing.any():
        values[missing] = np.interp(np.flatnonzero(missing), have, values[have])
        info = info.noted(f"{int(missing.sum())} missing values were interpolated")
    return IntensitySeries(info, first, step_ns, values, basis)


def _ns(when: datetime) -> int:
    return round(when.timestamp()) * 10**9
