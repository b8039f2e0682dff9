"""A budget is one limit on the machines' energy, and going on must never exceed it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.config import RunConfig
from carbon_trainer.control.budget import Budget, Need, StepForecast
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.runs.accounting import EmissionFactor
from carbon_trainer.units import MJ_PER_KWH

HALF_KG = dataclasses.replace(ZoneFactors().intensity("DE"), intensity_gco2e_per_kwh=500.0)


def _budget(pue: float = 1.0, **settings: float) -> Budget | None:
    config = RunConfig(**settings)  # type: ignore[arg-type]
    return Budget.tightest(config, EmissionFactor(HALF_KG, pue, config.price_per_kwh))


def test_no_budget_is_none() -> None:
    assert _budget() is None


@pytest.mark.parametrize(
    ("settings", "kwh"),
    [
        ({"budget_kwh": 2}, 2),
        ({"budget_kgco2e": 2}, 4),
        ({"budget_cost": 2, "price_per_kwh": 0.25}, 8),
        ({"budget_kwh": 5, "budget_kgco2e": 2}, 4),
        ({"budget_kwh": 3, "budget_kgco2e": 2, "budget_cost": 1, "price_per_kwh": 0.5}, 2),
    ],
)
def test_the_tightest_budget_is_the_one_that_holds(settings: dict[str, float], kwh: float) -> None:
    budget = _budget(**settings)
    assert budget is not None
    assert budget.limit_mj == kwh * MJ_PER_KWH


def test_a_budget_counts_what_the_building_draws() -> None:
    budget = _budget(pue=1.25, budget_kwh=1)
    assert budget is not None
    assert budget.limit_mj == 0.8 * MJ_PER_KWH


def test_a_budget_of_emissions_does_not_bind_where_the_grid_emits_nothing() -> None:
    clean = dataclasses.replace(HALF_KG, intensity_gco2e_per_kwh=0.0)
    assert Budget.tightest(RunConfig(budget_kgco2e=1), EmissionFactor(clean)) is None


@given(
    limit=st.integers(1_000, 10**12),
    steps=st.lists(st.integers(1, 1_000), min_size=1, max_size=300),
    reserve=st.integers(0, 500),
)
def test_a_run_whose_steps_never_grow_stays_within_its_budget(
    limit: int, steps: list[int], reserve: int
) -> None:
    budget, forecast, used = Budget(limit, "x"), StepForecast(), 0
    for energy in sorted(steps, reverse=True):
        if Need(used, forecast.next_mj or max(steps), reserve).exceeds(budget):
            break
        used += energy
        forecast.observe(energy)
    assert used + reserve <= limit


def test_the_forecast_is_the_largest_recent_step() -> None:
    forecast = StepForecast()
    assert (forecast.next_mj, forecast.mean_mj) == (0, None)
    for energy in (5, 9, 4):
        forecast.observe(energy)
    assert (forecast.next_mj, forecast.mean_mj) == (9, 6)
    for _ in range(50):
        forecast.observe(3)
    assert forecast.next_mj == 3
