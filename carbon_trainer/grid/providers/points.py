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

    Short gaps are interpolated, noted and marked; what lies before the first and after the last
    known value is left out.

    Raises:
        ProviderError: if there are no values, or a gap of over three hours.
    """
    step_ns = step_minutes * 60 * 10**9
    entries = {_ns(when): (value, basis) for when, value, basis in points if value is not None}
    if not entries:
        raise ProviderError(f"{info.source} has no values for {info.zone} in that time")
    start_ns = min(entries)
    slots = {(time_ns - start_ns) // step_ns: entry for time_ns, entry in entries.items()}
    count = max(slots) + 1
    values = np.full(count, np.nan)
    basis = np.full(count, Basis.INTERPOLATED, np.uint8)
    for slot, (value, point_basis) in slots.items():
        values[slot], basis[slot] = value, point_basis
    # The series runs over a regular grid; what services leave out shows as a gap in it.
    missing = np.isnan(values)
    present = np.flatnonzero(~missing)
    longest = int(np.diff(present).max(initial=1)) - 1
    if longest * step_ns > max(LONGEST_GAP_NS, step_ns):
        gap_ns = start_ns + int(present[int(np.diff(present).argmax())] + 1) * step_ns
        raise ProviderError(
            f"{info.source} has no values for {info.zone} for {longest * step_minutes / 60:.1f} "
            f"hours from {iso(gap_ns)}: ask for another time"
        )
    if missing.any():
        values[missing] = np.interp(np.flatnonzero(missing), present, values[present])
        info = info.with_notes(f"{int(missing.sum())} missing values were interpolated")
    return IntensitySeries(info, start_ns, step_ns, values, basis)


def _ns(when: datetime) -> int:
    return round(when.timestamp()) * 10**9
