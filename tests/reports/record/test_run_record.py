"""What was said after the event: corrections, instruments, whose machines, plan and outcome."""

from __future__ import annotations

import dataclasses
import math

import pytest

from carbon_trainer.hardware.accelerators import (
    LONG_LIFE_YEARS,
    SHORT_LIFE_YEARS,
    accelerator_of,
    accelerators,
)
from carbon_trainer.ledger.amend import amend
from carbon_trainer.ledger.facts import BoundaryStated, Corrected, InstrumentHeld
from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.figures.embodied import embodied_of
from carbon_trainer.reports.figures.run_figures import run_figures
from tests.reports import ledgers
from tests.reports.ledgers import RUN, T0_NS, S

YEAR_S = 365.25 * 86_400


@pytest.mark.slow
def test_a_correction_changes_every_figure_that_it_concerns_and_is_told(make):
    ledger = make("amended")
    before, after = run_figures(make("finished"), RUN), run_figures(ledger, RUN)
    assert after.energy == before.energy
    ratio = after.facility_energy.value / before.facility_energy.value
    assert ratio == pytest.approx(1.3 / 1.2)
    assert after.emissions.value / before.emissions.value == pytest.approx(1.3 / 1.2)
    (one,) = after.corrections
    assert (one.before, one.after) == ({"pue": 1.2}, {"pue": 1.3})
    assert one.reason == "the hall's meter was read"
    html = render_run(ledger, RUN, "html")
    assert "the hall&#39;s meter was read" in html


def test_a_correction_of_a_correction_counts_last(make):
    ledger = make("amended")
    amend(ledger, RUN, Corrected(of_seq=2, changes={"pue": 1.25}, reason="again", by="x"), 1)
    figures = run_figures(ledger, RUN)
    assert figures.factors[0].fact.pue == 1.25
    assert [one.before["pue"] for one in figures.corrections] == [1.2, 1.3]


def test_amendments_do_not_make_a_run_longer(make):
    before, after = run_figures(make("finished"), RUN), run_figures(make("amended"), RUN)
    assert after.duration.value == before.duration.value
    assert after.ended_ns == before.ended_ns


def test_market_based_emissions_take_instruments_for_what_they_cover(make):
    figures = run_figures(make("amended"), RUN)
    (use,) = figures.instruments
    assert use.covered_kwh == pytest.approx(0.005)
    left = 1 - 0.005 / figures.facility_energy.value
    assert figures.emissions_market.value == pytest.approx(figures.emissions.value * left)
    assert "GO-77" in figures.emissions_market.basis


def test_without_instruments_both_totals_are_the_same_and_it_is_said(make):
    figures = run_figures(make("finished"), RUN)
    assert figures.emissions_market.value == figures.emissions.value
    assert figures.emissions_market.basis.startswith("Same as location-based: no contractual")


def test_an_instrument_covers_no_more_than_was_used_and_the_residual_mix_takes_the_rest(make):
    ledger = make("finished")
    wind = InstrumentHeld(
        instrument="PPA", registry="x", serial="1", vintage="2026", market="GB",
        rate_gco2e_per_kwh=10.0, energy_kwh=0.004, source="wind", by="x",
    )  # fmt: skip
    mix = dataclasses.replace(
        wind, instrument="residual mix", rate_gco2e_per_kwh=400.0, energy_kwh=None, source=""
    )
    for fact in (mix, wind, dataclasses.replace(wind, serial="2", energy_kwh=99.0)):
        amend(ledger, RUN, fact, 1)
    figures = run_figures(ledger, RUN)
    facility = figures.facility_energy.value
    covered = {(u.fact.instrument, u.fact.serial): u.covered_kwh for u in figures.instruments}
    assert covered["PPA", "1"] == pytest.approx(0.004)
    assert covered["PPA", "2"] == pytest.approx(facility - 0.004)
    assert covered["residual mix", "1"] == pytest.approx(0.0)
    assert figures.emissions_market.value == pytest.approx(facility * 10 / 1000)


def test_a_marginal_factor_gives_no_market_based_total(tmp_path):
    factor = dataclasses.replace(ledgers.GB, accounting="marginal direct")
    chain = ledgers.described(tmp_path / "l.sqlite", factor)
    chain.train(60)
    chain.close()
    figures = run_figures(chain.ledger, RUN)
    assert figures.emissions_market.value is None
    assert "belongs in no inventory" in figures.emissions_market.basis


def test_mixed_kinds_of_intensity_have_no_sum(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(40)
    chain.put(dataclasses.replace(ledgers.GB, accounting="average direct"))
    chain.train(40)
    chain.close()
    figures = run_figures(chain.ledger, RUN)
    assert figures.emissions.value is None
    assert figures.emissions.method == "missing"
    assert "kgCO2e by average direct" in figures.emissions.basis
    assert "kgCO2e by average lifecycle" in figures.emissions.basis
    assert "missing" in render_run(chain.ledger, RUN, "md")


@pytest.mark.slow
def test_the_scope_is_as_stated_last(make):
    ledger = make("amended")
    html = render_run(ledger, RUN, "html")
    assert "Scope 2: electricity of own machines" in html
    amend(ledger, RUN, BoundaryStated(operation="colocation", by="x"), T0_NS + 9**9 * S)
    assert "category 8" in render_run(ledger, RUN, "html")


def test_the_embodied_share_is_a_range_over_boards_and_lifetimes():
    h100 = "NVIDIA H100 80GB HBM3"
    figure = embodied_of([(h100, YEAR_S), (h100, YEAR_S)])
    assert figure.low == pytest.approx(2 * 164.0 / LONG_LIFE_YEARS)
    assert figure.high == pytest.approx(2 * 575.1 / SHORT_LIFE_YEARS)
    assert figure.value == pytest.approx((figure.low + figure.high) / 2)
    assert figure.sigma == pytest.approx((figure.high - figure.low) / math.sqrt(12))
    assert figure.method == "assumed"


def test_the_embodied_share_of_a_board_that_nobody_has_measured_is_missing():
    figure = embodied_of([("NVIDIA H100 80GB HBM3", 1.0), ("ACME 9000", 1.0)])
    assert figure.value is None
    assert "ACME 9000" in figure.basis


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100-SXM5-80GB"), ("NVIDIA H100 PCIe", "H100-PCIE-80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"), ("Tesla T4", "T4"), ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"), ("NVIDIA GH200 480GB", "GH200-96GB"),
    ],
)  # fmt: skip
def test_boards_are_known_by_what_nvml_calls_them(label, name):
    assert accelerator_of(label).name == name


def test_every_board_has_a_dense_peak_and_a_range():
    for board in accelerators():
        assert 30 < board.peak_bf16_tflops < 3000
        if board.embodied_kgco2e:
            assert 0 < board.embodied_kgco2e[0] < board.embodied_kgco2e[1]
            assert all(board.sources)


@pytest.mark.slow
def test_plan_and_outcome_stand_side_by_side_and_the_saving_apart(make):
    ledger = make("planned")
    figures = run_figures(ledger, RUN)
    told = figures.plan_comparison
    assert told.planned.value == pytest.approx(0.12)
    before = figures.factors[0].emissions_kgco2e
    assert told.actual.value == pytest.approx(figures.emissions.value - before, rel=1e-3)
    # At once it would have run through the first hour only, at 300 g/kWh.
    assert told.at_once.value == pytest.approx(1.0 * 300 / 1000, rel=1e-3)
    assert told.saving.value == pytest.approx(told.at_once.value - told.actual.value)
    assert "recorded for those hours" in told.counterfactual
    html = render_run(ledger, RUN, "html")
    assert "It is in no total of this report." in html


def test_a_run_without_a_plan_tells_of_none(make):
    assert run_figures(make("finished"), RUN).plan_comparison is None


def test_lost_work_is_reported(tmp_path):
    ledger = ledgers.resumed(tmp_path / "l.sqlite")
    figures = run_figures(ledger, RUN)
    assert figures.lost_energy.value == 0.0
    assert "10 steps were repeated" in figures.lost_energy.basis


@pytest.mark.parametrize("name", sorted(ledgers.ALL))
def test_every_figure_names_its_formula_and_inputs(name, make):
    exact = {"duration", "active-time", "steps", "tokens", "train-loss", "validation-loss",
             "perplexity", "peak-power"}  # fmt: skip
    for figure in run_figures(make(name), RUN).all_figures():
        if figure.value is not None and figure.key not in exact:
            assert figure.formula or figure.inputs, figure.key
            assert figure.inputs or figure.key == "lost-energy", figure.key


def test_factors_are_named_by_id_source_and_vintage(make):
    figure = run_figures(make("finished"), RUN).emissions
    factor = next(one for one in figure.inputs if one.name == "intensity")
    assert factor.factor_id == "GB; average lifecycle; 2024"
    assert factor.vintage == "2024"
    assert factor.record == 2
    assert "Our World in Data" in factor.source
