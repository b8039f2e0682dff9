"""From generation by fuel to intensity, by published life-cycle factors."""

from __future__ import annotations

from collections.abc import Mapping

LIFECYCLE_GCO2E_PER_KWH: Mapping[str, float] = {
    "coal": 820.0,
    "gas": 490.0,
    "biomass": 230.0,
    "solar": 48.0,
    "geothermal": 38.0,
    "hydro": 24.0,
    "nuclear": 12.0,
    "wind": 11.0,
    "marine": 17.0,
}
"""Medians of life-cycle emissions (IPCC AR5 WG3, annex III, table A.III.2; solar: utility scale,
wind: onshore, biomass: dedicated)."""

OIL_GCO2E_PER_KWH = 733.0
"""Mean of life-cycle emissions of oil (World Nuclear Association 2011, table 2; AR5 has none)."""


def intensity(generation_mw: Mapping[str, float]) -> tuple[float, float] | None:
    """Return the mean intensity (g/kWh) of a mix, and the share of fuels without a factor.

    Args:
        generation_mw: generation by fuel: the names above, ``oil``, or anything else. What is
            negative, as of pumps, counts as nothing.

    Returns:
        None where nothing of known fuel is generated. What is of unknown fuel counts as the rest.
    """
    factors = {**LIFECYCLE_GCO2E_PER_KWH, "oil": OIL_GCO2E_PER_KWH}
    known_mw = unknown_mw = emissions = 0.0
    for fuel, power_mw in generation_mw.items():
        if not power_mw > 0:
            continue
        if fuel in factors:
            known_mw += power_mw
            emissions += power_mw * factors[fuel]
        else:
            unknown_mw += power_mw
    if known_mw == 0:
        return None
    return emissions / known_mw, unknown_mw / (known_mw + unknown_mw)


def unknown_note(shares: list[float]) -> tuple[str, ...]:
    """Return a note on the mean share of unknown fuel; none where it is below half a percent."""
    mean = sum(shares) / len(shares) if shares else 0.0
    if mean < 0.005:
        return ()
    return (f"{100 * mean:.1f} % of generation is of unknown fuel and counts as the rest",)
