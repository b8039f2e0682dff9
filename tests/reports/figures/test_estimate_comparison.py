"""What was estimated before a run stands beside what it took, and only where it was estimated."""

from __future__ import annotations

import dataclasses
import json

import pytest

from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.figures.run_figures import run_figures
from tests.reports import ledgers
from tests.reports.ledgers import ESTIMATE, RUN


def test_hours_and_energy_stand_beside_the_estimate_of_what_was_trained(make):
    figures = run_figures(make("estimated"), RUN)
    told = figures.estimate_comparison
    # Half of the planned tokens were trained.
    assert figures.tokens.value * 2 == ESTIMATE.tokens
    assert told.hours.estimated.value == pytest.approx(ESTIMATE.hours / 2)
    assert told.hours.estimated.high == pytest.approx(ESTIMATE.hours_high / 2)
    assert told.hours.actual.value == pytest.approx(figures.active_time.value / 3600)
    assert told.energy.actual is figures.facility_energy
    ratio = figures.facility_energy.value / (ESTIMATE.energy_kwh / 2)
    assert told.energy.ratio.value == pytest.approx(ratio)
    assert told.energy.estimated.method == "estimated"


def test_whether_it_lay_in_the_interval_is_told(make, tmp_path):
    figures = run_figures(make("estimated"), RUN)
    assert not figures.estimate_comparison.energy.is_inside
    assert figures.estimate_comparison.hours.is_inside
    chain = ledgers.described(tmp_path / "other.sqlite")
    chain.put(dataclasses.replace(ESTIMATE, hours_low=0.07, hours=0.075, energy_high_kwh=0.1))
    chain.train(120)
    chain.close()
    other = run_figures(chain.ledger, RUN).estimate_comparison
    assert not other.hours.is_inside
    assert other.energy.is_inside


@pytest.mark.slow
@pytest.mark.parametrize("form", ["md", "html"])
def test_people_see_both_the_ratio_and_the_interval(rendered, form):
    text = rendered("estimated", form)
    assert "Estimate and outcome" in text
    assert "Energy of the facility, estimated before" in text
    assert "for the 50 % of the planned tokens" in text


def test_machines_get_the_estimate_with_the_keys_of_its_figures(rendered):
    document = json.loads(rendered("estimated", "json"))
    assert document["estimate"]["accelerator"] == "H100-SXM5-80GB"
    for one in document["estimate"]["beside"].values():
        assert {one["estimated"], one["came"], one["ratio"]} <= document["figures"].keys()


def test_a_run_that_was_not_estimated_tells_of_none(make):
    ledger = make("finished")
    assert run_figures(ledger, RUN).estimate_comparison is None
    assert "estimate" not in json.loads(render_run(ledger, RUN, "json"))
    assert "Estimate and outcome" not in render_run(ledger, RUN, "md")


def test_an_estimated_run_without_any_token_tells_of_none(tmp_path):
    chain = ledgers.described(tmp_path / "early.sqlite")
    chain.put(ESTIMATE)
    assert run_figures(chain.ledger, RUN).estimate_comparison is None
