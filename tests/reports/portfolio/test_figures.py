"""A portfolio adds up what the runs' own reports say, whichever way it is cut."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.amend import amend
from carbon_trainer.ledger.facts import InstrumentHeld, IntensityUsed, Interval
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.portfolio.figures import Portfolio, portfolio_of
from carbon_trainer.reports.portfolio.selection import Selection, selection_of
from tests.reports import ledgers
from tests.reports.ledgers import GB, GPU, T0_NS, S
from tests.reports.portfolio.many import chain_of

ALL = Selection()


@pytest.fixture
def ledger(several: Ledger) -> Ledger:
    return several


def groups(portfolio: Portfolio, cut: str) -> dict[str, int]:
    return {group.name: group.sum.energy_mj for group in portfolio.cuts[cut]}


def test_totals_are_those_of_the_runs_own_reports(ledger: Ledger) -> None:
    portfolio = portfolio_of(ledger, ALL)
    runs = [run_figures(ledger, run_id) for run_id in ledger.run_ids()]
    for name in ("energy", "facility_energy", "emissions", "emissions_market", "lost_energy"):
        total = sum(getattr(run, name).value for run in runs)
        assert getattr(portfolio, name).value == pytest.approx(total, rel=1e-12), name
    assert portfolio.tokens.value == sum(run.tokens.value for run in runs)
    assert portfolio.embodied.high == pytest.approx(
        sum(run.embodied.high for run in runs), rel=0.05
    )


def test_each_runs_line_is_its_own_report(ledger: Ledger) -> None:
    for line in portfolio_of(ledger, ALL).lines:
        figures = run_figures(ledger, line.run.run_id)
        assert line.sum.energy_mj == figures.total.energy_mj
        assert line.sum.method == figures.energy.method
        assert line.sum.energy_sigma_mj == pytest.approx(figures.total.sigma_mj, rel=1e-9)
        assert line.sum.kg == pytest.approx(figures.emissions.value, rel=1e-12)
        assert line.sum.kg_sigma == pytest.approx(figures.emissions.sigma, rel=1e-9)
        assert line.run.status == figures.status


def test_every_cut_adds_up_to_the_same_energy_exactly(ledger: Ledger) -> None:
    portfolio = portfolio_of(ledger, ALL)
    total = sum(ledger.energy_mj(run_id) for run_id in ledger.run_ids())
    for cut in portfolio.cuts:
        assert sum(groups(portfolio, cut).values()) == total, cut
    assert sum(group.sum.energy_mj for group in portfolio.kinds) == total


def test_failed_and_development_runs_roll_up(ledger: Ledger) -> None:
    portfolio = portfolio_of(ledger, ALL)
    assert set(groups(portfolio, "purpose")) == {"final", "development", "not stated"}
    assert {"finished", "failed", "open"} == set(groups(portfolio, "outcome"))
    final = run_figures(ledger, "a-final").energy.value
    assert portfolio.final_factor.value == pytest.approx(portfolio.energy.value / final)
    assert portfolio.lost_energy.value == pytest.approx(5_000_000 / 3.6e9)


def test_a_year_takes_the_energy_that_was_used_in_it(ledger: Ledger) -> None:
    one = portfolio_of(ledger, selection_of(year=2026))
    next_one = portfolio_of(ledger, selection_of(year=2027))
    both = portfolio_of(ledger, ALL)
    assert one.energy.value + next_one.energy.value == pytest.approx(both.energy.value)
    assert {line.run.run_id for line in next_one.lines} == {"d-over", "e-open"}
    assert "d-over" in {line.run.run_id for line in one.lines}
    assert one.inventory.start == "2026-01-01T00:00:00.000+00:00"
    assert one.inventory.end == "2027-01-01T00:00:00.000+00:00"
    assert list(groups(next_one, "month")) == ["2027-01"]


@pytest.mark.parametrize(
    ("chosen", "runs"),
    [
        ({"project": "p1"}, {"a-final", "b-tried"}), ({"user": "ada"}, {"a-final", "d-over"}),
        ({"purpose": "final"}, {"a-final"}), ({"status": "failed"}, {"c-failed"}),
        ({"zone": "FR"}, {"b-tried"}), ({"first": "2026-02-10", "last": "2026-02-10"}, {"b-tried"}),
    ],
)  # fmt: skip
def test_runs_can_be_chosen(ledger: Ledger, chosen: dict[str, str], runs: set[str]) -> None:
    portfolio = portfolio_of(ledger, selection_of(**chosen))
    assert {line.run.run_id for line in portfolio.lines} == runs


def test_no_run_at_all_is_said_so(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no run of project 'nobody'"):
        portfolio_of(ledger, selection_of(project="nobody"))


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"first": "yesterday"}, "--from is 'yesterday'"),
        ({"first": "2026-02-02", "last": "2026-02-01"}, "the period is empty"),
        ({"year": 2026, "last": "2026-02-01"}, "two periods"), ({"year": 20}, "--year is 20"),
    ],
)  # fmt: skip
def test_a_period_that_is_none_is_refused(chosen: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        selection_of(**chosen)


@pytest.mark.slow
def test_scopes_hold_each_run_once(ledger: Ledger) -> None:
    inventory = portfolio_of(ledger, ALL).inventory
    found = {(line.scope.scope, line.scope.category): set(line.runs) for line in inventory.lines}
    assert found == {
        (2, None): {"a-final", "c-failed"}, (3, 1): {"b-tried"}, (3, 8): {"d-over"},
        (None, None): {"e-open"},
    }  # fmt: skip
    total = sum(line.energy.value for line in inventory.lines)
    assert total == pytest.approx(portfolio_of(ledger, ALL).facility_energy.value)


def test_instruments_count_in_the_market_based_total_of_their_run(ledger: Ledger) -> None:
    before = portfolio_of(ledger, ALL)
    amend(ledger, "a-final", InstrumentHeld(
        instrument="REC", registry="r", serial="s", vintage="2026", market="GB",
        rate_gco2e_per_kwh=0.0, energy_kwh=99.0, source="solar", by="x",
    ), 1)  # fmt: skip
    after = portfolio_of(ledger, ALL)
    gone = run_figures(ledger, "a-final").emissions.value
    assert after.emissions.value == before.emissions.value
    assert after.emissions_market.value == pytest.approx(before.emissions_market.value - gone)


def test_what_the_records_lack_is_named(ledger: Ledger) -> None:
    text = " ".join(portfolio_of(ledger, ALL).gaps)
    assert "1 run still open" in text
    assert "not stated whose machines" in text


def test_mixed_kinds_of_intensity_have_no_sum(ledger: Ledger) -> None:
    chain = chain_of(ledger, "z", T0_NS, dataclasses.replace(GB, accounting="marginal direct"))
    chain.train(20)
    chain.close()
    portfolio = portfolio_of(ledger, ALL)
    assert portfolio.emissions.value is None
    assert "by marginal direct" in portfolio.emissions.basis
    assert {group.name for group in portfolio.kinds} == {"average lifecycle", "marginal direct"}
    assert portfolio.energy.value > 0


def test_a_run_without_a_factor_leaves_emissions_missing(ledger: Ledger) -> None:
    chain = ledgers.Chain(ledger, "z")
    chain.put(ledgers.OPENED, ledgers.MACHINE)
    chain.train(20)
    chain.close()
    portfolio = portfolio_of(ledger, ALL)
    assert portfolio.emissions.value is None
    assert any("without an emission factor" in gap for gap in portfolio.gaps)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(["gpu", "cpu"]), st.integers(0, 10**8),
            st.booleans(),
        ),
        min_size=1, max_size=25,
    )
)  # fmt: skip
def test_a_portfolio_of_one_run_is_its_report(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, str, int, bool]]
) -> None:
    chain = ledgers.opened(tmp_path_factory.mktemp("fuzz") / "l.sqlite")
    chain.put(GB, ledgers.MACHINE)
    for minutes, component, energy_mj, changes in parts:
        if changes:
            grams = 50.0 + len(parts) * minutes
            chain.put(dataclasses.replace(GB, intensity_gco2e_per_kwh=grams))
        device = GPU if component == "gpu" else component
        chain.put(Interval(
            device=device, component=component, start_ns=chain.now_ns, end_ns=chain.now_ns + S,
            energy_mj=energy_mj, method="measured", sigma_mj=7, phase="train",
        ))  # fmt: skip
        chain.now_ns += minutes * 600 * S
    chain.close()
    figures, portfolio = run_figures(chain.ledger, ledgers.RUN), portfolio_of(chain.ledger, ALL)
    assert portfolio.energy.value == figures.energy.value
    assert portfolio.energy.sigma == pytest.approx(figures.energy.sigma, rel=1e-9)
    assert portfolio.emissions.value == pytest.approx(figures.emissions.value, rel=1e-12)
    assert portfolio.emissions.sigma == pytest.approx(figures.emissions.sigma, rel=1e-9)
    assert len(chain.ledger.facts(ledgers.RUN, IntensityUsed)) >= 1
    chain.ledger.close()
