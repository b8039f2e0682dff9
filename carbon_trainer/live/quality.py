"""The method and the uncertainty of a run's total, while the run is active."""

from __future__ import annotations

import math
from collections.abc import Mapping

from carbon_trainer.energy.meter import EnergySummary
from carbon_trainer.energy.sources.base import Method

CONSIDERABLE = 0.01
"""A part counts for a sum's method from this share of it on, as in reports."""

_STRENGTH = (Method.UNKNOWN, Method.ASSUMED, Method.ESTIMATED, Method.MEASURED)
"""Weakest first."""


def energy_by_method_mj(
    summary: EnergySummary, earlier_mj: Mapping[str, int] | None = None
) -> dict[str, float]:
    """Return a run's energy by method, millijoules.

    Args:
        summary: this segment. What was extrapolated or bridged is taken as its share of a
            device's known time.
        earlier_mj: the earlier segments'.
    """
    parts: dict[str, float] = dict(earlier_mj or {})
    for row in summary.devices:
        known_s = row.measured_s + row.estimated_s
        share = row.estimated_s / known_s if known_s > 0 else 0.0
        if row.info.method is not Method.MEASURED:
            # What is estimated or assumed throughout does not get weaker where it is bridged.
            share = 0.0
        for method, energy_mj in (
            (row.info.method, row.energy_mj * (1 - share)),
            (Method.ESTIMATED, row.energy_mj * share),
        ):
            parts[str(method)] = parts.get(str(method), 0.0) + energy_mj
    return parts


def weakest_method(parts: Mapping[str, float]) -> str:
    """Return the weakest method among a sum's considerable parts; unknown where there is none."""
    least = CONSIDERABLE * sum(parts.values())
    considerable = {method for method, part in parts.items() if part > 0 and part >= least}
    return str(next((method for method in _STRENGTH if method in considerable), Method.UNKNOWN))


def energy_uncertainty(summary: EnergySummary) -> float | None:
    """Return one sigma of a run's energy, relative; None before there is any.

    Gains add up within a component and are independent between components, timing errors are
    independent between devices, as in reports. Earlier segments are taken to be as uncertain.
    """
    if summary.energy_mj == 0:
        return None
    # Sensors of one kind tend to err alike, so their gains add up; kinds are independent.
    gains_mj: dict[str, float] = {}
    for row in summary.devices:
        component = str(row.info.component)
        gains_mj[component] = gains_mj.get(component, 0.0) + row.gain_sigma_mj
    timing_mj = [row.sigma_mj for row in summary.devices]
    return math.hypot(*gains_mj.values(), *timing_mj) / summary.energy_mj
