"""Conversions between the code's unit of energy (mJ) and those that people read."""

from __future__ import annotations

MJ_PER_J = 1_000
J_PER_KWH = 3_600_000
MJ_PER_KWH = MJ_PER_J * J_PER_KWH
"""Millijoules in a kilowatt hour (BIPM SI brochure, table 8: 1 h = 3600 s)."""


def kwh_from_mj(energy_mj: float) -> float:
    """Return millijoules in kilowatt hours."""
    return energy_mj / MJ_PER_KWH


def mj_from_kwh(energy_kwh: float) -> int:
    """Return kilowatt hours in whole millijoules."""
    return round(energy_kwh * MJ_PER_KWH)


_ENERGY_STEPS = ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh"), (1e-3, "Wh"), (1e-6, "mWh"))
_MASS_STEPS = ((1e3, "tCO2e"), (1.0, "kgCO2e"), (1e-3, "gCO2e"), (1e-6, "mgCO2e"))


def energy_text(energy_kwh: float) -> str:
    """Format an energy for people, three significant figures in a suitable unit: ``12.4 Wh``."""
    return _scaled(energy_kwh, _ENERGY_STEPS)


def emissions_text(emissions_kgco2e: float) -> str:
    """Format a mass of CO2 equivalent for people: ``3.91 gCO2e``."""
    return _scaled(emissions_kgco2e, _MASS_STEPS)


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    # Slightly below each unit's factor, as rounding to three figures would make 1.00 of it.
    for factor, unit in steps:
        if abs(value) >= factor * 0.9995:
            return f"{_three_figures(value / factor)} {unit}"
    factor, unit = steps[-1]
    return f"{_three_figures(value / factor)} {unit}"


def _three_figures(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")
