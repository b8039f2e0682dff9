"""Unit conversions of exports, in one place: figures are in kWh and kgCO2e."""

from __future__ import annotations

GRAMS_PER_KG = 1000.0
KG_PER_TONNE = 1000.0
KWH_PER_MWH = 1000.0


def grams(kilograms: float) -> float:
    """Turn kgCO2e into gCO2e (Hugging Face, SCI)."""
    return kilograms * GRAMS_PER_KG


def tonnes(kilograms: float) -> float:
    """Turn kgCO2e into tCO2e (GHG Protocol, ESRS)."""
    return kilograms / KG_PER_TONNE


def megawatt_hours(kilowatt_hours: float) -> float:
    """Turn kWh into MWh (ESRS, AI Act)."""
    return kilowatt_hours / KWH_PER_MWH


def significant(value: float, digits: int = 2) -> str:
    """Write a number with at least some significant digits, in plain or scientific notation."""
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e7:
        return f"{value:#.{max(digits, 2)}g}".rstrip(".")
    return f"{value:.{digits - 1}e}"
