"""Figures for people have three significant figures and the unit that fits."""

from __future__ import annotations

import pytest

from carbon_trainer.units import emissions_text, energy_text, kwh_from_mj, mj_from_kwh


@pytest.mark.parametrize(
    ("kwh", "text"),
    [
        (0, "0 mWh"), (0.0000012, "1.20 mWh"), (0.0124, "12.4 Wh"), (0.9999, "1.00 kWh"),
        (1, "1.00 kWh"), (123.4, "123 kWh"), (1234, "1.23 MWh"), (5.6e9, "5,600 GWh"),
    ],
)  # fmt: skip
def test_energy_is_written_in_the_unit_that_fits(kwh: float, text: str) -> None:
    assert energy_text(kwh) == text


def test_emissions_are_written_in_the_unit_that_fits() -> None:
    assert emissions_text(0.00391) == "3.91 gCO2e"
    assert emissions_text(2500) == "2.50 tCO2e"


def test_a_kilowatt_hour_is_3_6_megajoules() -> None:
    assert mj_from_kwh(1) == 3_600_000_000
    assert kwh_from_mj(1_800_000_000) == 0.5
