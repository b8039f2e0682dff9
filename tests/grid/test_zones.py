"""Zones are checked before they are used; PUE is applied once; nothing is silently 475 g."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.errors import InputError
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.runs.accounting import EmissionFactor
from carbon_trainer.units import MJ_PER_KWH

FACTORS = ZoneFactors()


@pytest.mark.parametrize(
    ("zone", "g_per_kwh"),
    [("FR", 56.039), ("fra", 56.039), ("DE", 380.95), ("US", 369.473), ("US-CA", 179.064)],
)
def test_known_zones_have_codecarbons_figures(zone: str, g_per_kwh: float) -> None:
    assert FACTORS.intensity(zone).intensity_gco2e_per_kwh == pytest.approx(g_per_kwh, abs=1e-3)


@pytest.mark.parametrize(
    ("zone", "suggestion"),
    [("UK", "GB"), ("germany", "DE"), ("US-XX", "US-TX"), ("CA-QC", "CA"), ("DEX", "DE")],
)
def test_a_mistyped_zone_is_an_error_with_the_nearest_names(zone: str, suggestion: str) -> None:
    with pytest.raises(InputError, match=f"no emission factors for zone .*{suggestion}"):
        FACTORS.intensity(zone)


@pytest.mark.parametrize("zone", ["", "Q", "??", "US-", "ZZZZ", "475"])
def test_nonsense_is_never_the_world_average(zone: str) -> None:
    with pytest.raises(InputError):
        FACTORS.intensity(zone)


def test_every_listed_zone_has_a_figure_of_its_own() -> None:
    zones = FACTORS.zones()
    assert len(zones) > 250
    for zone in zones:
        assert 0 <= FACTORS.intensity(zone).intensity_gco2e_per_kwh < 1500, zone


def test_no_zone_is_the_world_average_and_says_assumed() -> None:
    world = FACTORS.intensity(None)
    assert (world.method, world.intensity_gco2e_per_kwh, world.zone) == ("assumed", 475, "world")


def test_country_and_state_say_that_they_count_differently() -> None:
    assert FACTORS.intensity("US").accounting == "average lifecycle"
    assert FACTORS.intensity("US-CA").accounting == "average direct"


def test_every_factor_carries_source_vintage_licence_and_uncertainty() -> None:
    for zone in ("GB", "US-TX", None):
        factor = FACTORS.intensity(zone)
        assert factor.source
        assert factor.vintage.isdigit()
        assert factor.licence
        assert 0 < factor.uncertainty < 1


@given(energy_mj=st.integers(0, 2**60), pue=st.floats(1, 3))
def test_emissions_are_energy_times_pue_times_intensity(energy_mj: int, pue: float) -> None:
    factor = EmissionFactor(FACTORS.intensity("FR"), pue, price_per_kwh=0.25)
    kwh = energy_mj / MJ_PER_KWH * pue
    assert factor.emissions_kgco2e(energy_mj) == pytest.approx(kwh * 0.05603900)
    assert factor.cost(energy_mj) == pytest.approx(kwh * 0.25)


def test_no_price_means_no_cost() -> None:
    assert EmissionFactor(FACTORS.intensity("FR")).cost(10**9) is None
