"""The checks find mistakes that were really published, and leave right figures alone."""

from __future__ import annotations

import dataclasses

import pytest

from carbon_trainer.reports.exports.checks import (
    Claim,
    problems_of,
    problems_of_inventory,
    problems_of_run,
)
from carbon_trainer.reports.exports.inventory import inventory_of_run
from carbon_trainer.reports.figures.run_figures import run_figures
from tests.reports import ledgers
from tests.reports.ledgers import RUN

RIGHT = Claim(
    name="a run", energy_kwh=1000.0, facility_kwh=1200.0, pue=1.2, intensity_gco2e_per_kwh=400.0,
    emissions_kgco2e=480.0, device_hours=2000.0, tdp_w=700.0, accelerator="NVIDIA H100 80GB HBM3",
)  # fmt: skip


def _said(**changes: object) -> str:
    return " ".join(problems_of(dataclasses.replace(RIGHT, **changes)))


def test_figures_that_fit_are_left_alone() -> None:
    assert problems_of(RIGHT) == []
    assert problems_of(Claim(name="nothing is said")) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"emissions_kgco2e": 480_000.0}, "grams may have been taken for kilograms"),
        ({"emissions_kgco2e": 0.48}, "tonnes for kilograms"),
        ({"emissions_kgco2e": 576.0}, "the PUE may be in it twice"),
        ({"emissions_kgco2e": 400.0}, "the PUE may be left out"),
        ({"facility_kwh": 1440.0, "emissions_kgco2e": 576.0}, "the PUE is in it twice"),
        ({"pue": 0.9, "facility_kwh": 900.0, "emissions_kgco2e": 360.0}, "below 1"),
        ({"energy_kwh": 10_000.0, "facility_kwh": 12_000.0, "emissions_kgco2e": 4800.0}, "limit"),
        ({"peak_tflops": 1979.0}, "the sparse one of H100-SXM5-80GB"),
        ({"peak_tflops": 1400.0}, "above that of H100"),
        ({"flops": 1e25}, "of the peak: hours or operations are wrong"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], said: str) -> None:
    assert said in _said(**changes)


def test_llama_3_3s_card_would_not_have_passed() -> None:
    """7.0 M H100-hours at 700 W and 12.9 t: the card before it says 2,040 t for as many."""
    hours, pue, grams = 7.0e6, 1.1, 390.0
    card = Claim(
        name="Llama 3.3 70B", device_hours=hours, tdp_w=700.0, pue=pue,
        intensity_gco2e_per_kwh=grams, emissions_kgco2e=12_900.0,
    )  # fmt: skip
    assert any("hours, energy or emissions are wrong" in problem for problem in problems_of(card))
    before = dataclasses.replace(card, name="Llama 3.1 70B", emissions_kgco2e=2_040_000.0)
    assert problems_of(before) == []


def test_a_356_mwh_llama_7b_would_not_have_passed() -> None:
    """An appendix gives LLaMA-7B the 356 MWh of OPT-175B: 82,432 A100-hours cannot use that."""
    claim = Claim(
        name="LLaMA-7B", energy_kwh=356_000.0, device_hours=82_432.0,
        accelerator="NVIDIA A100-SXM4-80GB",
    )  # fmt: skip
    assert problems_of(claim)
    assert problems_of(dataclasses.replace(claim, energy_kwh=32_700.0)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ledgers.ALL))
def test_our_own_figures_pass(name, make) -> None:
    figures = run_figures(make(name), RUN)
    assert problems_of_run(figures) == []
    assert problems_of_inventory(inventory_of_run(figures, "", "")) == []


def test_the_same_kwh_in_two_scopes_is_found(make) -> None:
    inventory = inventory_of_run(run_figures(make("amended"), RUN), "", "")
    (line,) = inventory.lines
    other = dataclasses.replace(line, scope=dataclasses.replace(line.scope, scope=3, category=1))
    (problem,) = problems_of_inventory(dataclasses.replace(inventory, lines=(line, other)))
    assert "would be counted twice" in problem


def test_instruments_for_more_than_was_used_are_found(make) -> None:
    inventory = inventory_of_run(run_figures(make("amended"), RUN), "", "")
    (line,) = inventory.lines
    greedy = dataclasses.replace(line, covered_kwh=99.0)
    assert problems_of_inventory(dataclasses.replace(inventory, lines=(greedy,)))
