from __future__ import annotations

import dataclasses
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import (
    Decision,
    IntensityUsed,
    Interval,
    Progress,
    Resumed,
    RunClosed,
)
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.portfolio.runs import runs_of
from tests.reports import ledgers
from tests.reports.ledgers import CONFIG, FR, GB, GPU, MACHINE, RUN, T0_NS, S

MJ_PER_KWH = 3_600_000_000
NAMES = sorted(ledgers.ALL)


def interval(**changes):
    whole = {
        "device": "cpu", "component": "cpu", "start_ns": T0_NS, "end_ns": T0_NS + S,
        "energy_mj": 1000, "method": "measured", "sigma_mj": 0, "phase": "train",
    }  # fmt: skip
    return Interval(**(whole | changes))


@pytest.mark.parametrize("name", NAMES)
def test_components_devices_phases_and_segments_each_add_up_to_the_ledgers_total(name, make):
    ledger = make(name)
    figures = run_figures(ledger, RUN)
    total = ledger.energy_mj(RUN)
    for rows in (figures.by_component, figures.by_device, figures.by_phase, figures.segments):
        assert sum(row.energy_mj for row in rows) == total
    if figures.total:
        assert figures.total.energy_mj == total
        assert figures.energy.value == total / MJ_PER_KWH


@pytest.mark.parametrize("name", ["finished", "resumed", "lost_gpu"])
def test_emissions_are_energy_times_pue_times_the_intensity_in_force(name, make):
    ledger = make(name)
    kilograms, cost = 0.0, 0.0
    changes = [(f.seq, f.fact()) for f in ledger.facts(RUN, IntensityUsed)]
    for row in ledger.intervals(RUN).itertuples():
        factor = [fact for seq, fact in changes if seq < row.seq][-1]
        facility_kwh = row.energy_mj / MJ_PER_KWH * factor.pue
        kilograms += facility_kwh * factor.intensity_gco2e_per_kwh / 1000
        cost += facility_kwh * factor.price_per_kwh
    figures = run_figures(ledger, RUN)
    assert figures.emissions.value == pytest.approx(kilograms, rel=1e-12)
    assert figures.cost.value == pytest.approx(cost, rel=1e-12)
    assert figures.cost.unit == "GBP"


def test_intervals_before_the_first_factor_use_the_first(tmp_path):
    chain = ledgers.opened(tmp_path / "l.sqlite")
    chain.put(MACHINE, interval(energy_mj=MJ_PER_KWH), GB, interval(energy_mj=MJ_PER_KWH), FR)
    chain.put(interval(energy_mj=MJ_PER_KWH))
    figures = run_figures(chain.ledger, RUN)
    assert [use.energy_mj for use in figures.factors] == [2 * MJ_PER_KWH, MJ_PER_KWH]
    assert figures.emissions.value == pytest.approx(2 * 1.2 * 0.2105 + 1.1 * 0.044)


def test_gain_errors_add_up_within_a_component_and_are_independent_between(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    other = {**ledgers.SOURCES[0], "device": "GPU-2", "uncertainty": 0.10}
    chain.put(dataclasses.replace(MACHINE, sources=[*ledgers.SOURCES, other]))
    chain.put(
        interval(component="gpu", device=GPU, energy_mj=10_000, sigma_mj=300),
        interval(component="gpu", device="GPU-2", energy_mj=20_000, sigma_mj=400),
        interval(component="cpu", device="cpu", energy_mj=5_000),
    )
    figures = run_figures(chain.ledger, RUN)
    gpu_gain, cpu_gain, timing = 500 + 2000, 0.3 * 5_000, math.hypot(300, 400)
    assert figures.by_component[0].sigma_mj == pytest.approx(math.hypot(gpu_gain, timing))
    assert figures.total.sigma_mj == pytest.approx(math.hypot(gpu_gain, cpu_gain, timing))


def test_the_factors_error_is_fully_correlated_over_the_run(tmp_path):
    chain = ledgers.opened(tmp_path / "l.sqlite")
    sure = {**ledgers.SOURCES[1], "uncertainty": 0.0}
    chain.put(dataclasses.replace(MACHINE, sources=[sure]))
    chain.put(GB, interval(energy_mj=MJ_PER_KWH), FR, interval(energy_mj=MJ_PER_KWH))
    emissions = run_figures(chain.ledger, RUN).emissions
    assert emissions.sigma == pytest.approx(0.28 * emissions.value)


def test_a_sum_is_as_weak_as_its_weakest_part(figures):
    found = figures("finished")
    assert [row.method for row in found.by_component] == ["measured", "estimated", "estimated"]
    assert found.energy.method == "estimated"
    assert figures("lost_gpu").by_component[0].method == "estimated"


def test_an_assumed_pue_makes_emissions_assumed(tmp_path):
    factor = dataclasses.replace(GB, pue=1.0, pue_method="assumed")
    chain = ledgers.described(tmp_path / "l.sqlite", factor)
    chain.train(10)
    found = run_figures(chain.ledger, RUN)
    assert (found.energy.method, found.emissions.method) == ("estimated", "assumed")


def test_a_device_without_a_described_source_has_no_uncertainty(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.put(interval(device="mystery", component="fpga"))
    found = run_figures(chain.ledger, RUN)
    assert found.energy.sigma is None
    assert found.emissions.sigma is None
    assert any(gap.what == "uncertainty of mystery" for gap in found.gaps)


def test_two_components_may_share_a_devices_name(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.put(interval(component="cpu", device="host"), interval(component="ram", device="host"))
    rows = run_figures(chain.ledger, RUN).by_device
    assert [(row.component, row.name) for row in rows] == [("cpu", "host"), ("ram", "host")]


def test_a_finished_run_says_so(figures):
    found = figures("finished")
    assert (found.status, found.reason, found.is_open) == ("finished", "all steps are done", False)
    assert (found.steps.value, found.tokens.value) == (120, 120 * 8192)
    assert found.duration.value == found.active_time.value == 120.5
    assert found.tokens_per_kwh.value == pytest.approx(found.tokens.value / found.energy.value)
    assert found.perplexity.value == pytest.approx(math.exp(found.validation_loss.value))
    mean_w = found.energy.value * 3.6e6 / 120.5
    assert found.mean_power.value == pytest.approx(mean_w)
    assert found.peak_power.value > mean_w


def test_a_run_without_a_close_is_open(figures):
    found = figures("still_open")
    assert (found.status, found.is_open) == ("open", True)
    assert found.segments[0].seconds == 30


def test_a_kill_and_a_resumption_make_two_segments(figures):
    found = figures("resumed")
    assert [s.ended for s in found.segments] == ["no closing record", "budget"]
    assert [s.repeated_steps for s in found.segments] == [0, 10]
    assert [s.last_step for s in found.segments] == [60, 130]
    assert found.active_time.value == 140.5
    assert found.duration.value == 7200 + 140.5
    assert found.status == "budget"
    assert any("segment 1" in gap.what for gap in found.gaps)


def test_a_resumption_after_a_close_that_is_still_going_on_is_open(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(10)
    chain.close("interrupted", "SIGTERM")
    chain.put(Resumed(checkpoint="c", step=10, config=CONFIG, energy_before_mj=0))
    assert run_figures(chain.ledger, RUN).status == "open"


def test_energy_that_a_checkpoint_knows_of_and_the_ledger_does_not_is_a_gap(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.put(Resumed(checkpoint="c", step=9, config=CONFIG, energy_before_mj=MJ_PER_KWH))
    gaps = run_figures(chain.ledger, RUN).gaps
    assert any("1 kWh used before it that this ledger does not have" in gap.why for gap in gaps)


def test_coverage_tells_measured_estimated_unknown_and_not_recorded_apart(figures):
    row = figures("lost_gpu").by_component[0]
    assert row.seconds_by_method == {"estimated": 20.0, "measured": 40.0, "unknown": 10.0}
    assert row.unrecorded_s == pytest.approx(10.5)


def test_gaps_are_stated(figures):
    gaps = figures("lost_gpu").gaps
    assert gaps[0].why == "NVML answers GPU is lost"
    assert any("lower bound" in gap.why for gap in gaps)
    assert any("no interval for 10.5 s" in gap.why for gap in gaps)


def test_what_is_missing_is_missing_and_not_guessed(figures):
    found = figures("empty")
    for figure in (found.energy, found.emissions, found.steps, found.tokens_per_kwh):
        assert (figure.value, figure.sigma, figure.method) == (None, None, "missing")
        assert figure.basis
    assert found.cost is None
    assert found.provenance.corpus is None
    assert found.status == "open"


def test_budgets_count_what_the_facility_draws(figures):
    found = figures("resumed")
    kwh, kilograms = found.budgets
    assert kwh.share == pytest.approx(found.facility_energy.value / 0.022)
    assert kilograms.share == pytest.approx(found.emissions.value / 0.01)


def test_a_cost_in_two_currencies_has_no_single_sum(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(10)
    chain.put(dataclasses.replace(FR, currency="EUR"))
    chain.train(10)
    assert run_figures(chain.ledger, RUN).cost.value is None


def test_without_a_price_there_is_no_cost(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite", dataclasses.replace(GB, price_per_kwh=None))
    chain.train(10)
    assert run_figures(chain.ledger, RUN).cost is None


def test_passwords_do_not_get_into_a_report(figures):
    assert figures("finished").provenance.config["ledger"] == (
        "postgresql+psycopg://***@db.example/ledger"
    )


def test_every_figure_has_its_own_key_and_says_how_it_is_made(figures):
    found = list(figures("resumed").all_figures())
    assert len({figure.key for figure in found}) == len(found)
    assert all(len(figure.basis) > 10 for figure in found)


def test_a_run_that_is_not_there_is_bad_input(make):
    with pytest.raises(InputError, match="there is no run 'nope'"):
        run_figures(make("empty"), "nope")


def test_what_is_appended_while_it_is_read_does_not_count(make, monkeypatch):
    ledger = make("still_open")
    head = ledger.head(RUN)
    before = run_figures(ledger, RUN)
    ledger.append(RUN, [(T0_NS, interval()), (T0_NS, ledgers.OPENED)], head)
    monkeypatch.setattr(Ledger, "head", lambda *_: head)
    after = run_figures(ledger, RUN)
    assert (after.energy, after.segments) == (before.energy, before.segments)


@st.composite
def random_intervals(draw):
    start = draw(st.integers(0, 10**6))
    length = draw(st.integers(0, 10**11))
    return interval(
        device=draw(st.sampled_from([GPU, "cpu", "ram"])),
        component=draw(st.sampled_from(["gpu", "cpu", "ram", "dpu"])),
        start_ns=T0_NS + start * 10**6,
        end_ns=T0_NS + start * 10**6 + length,
        energy_mj=draw(st.integers(0, 10**15)),
        method=draw(st.sampled_from(["measured", "estimated", "assumed", "unknown"])),
        sigma_mj=draw(st.integers(0, 10**9)),
        phase=draw(st.sampled_from(["train", "validation", "idle"])),
    )


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(random_intervals(), min_size=1, max_size=30), st.integers(0, 30))
def test_whatever_the_intervals_every_cut_is_the_whole(tmp_path_factory, intervals, change_at):
    chain = ledgers.described(tmp_path_factory.mktemp("l") / "l.sqlite")
    chain.put(*intervals[:change_at], FR, *intervals[change_at:])
    found = run_figures(chain.ledger, RUN)
    total = sum(i.energy_mj for i in intervals)
    by_component = defaultdict(int)
    for i in intervals:
        by_component[i.component] += i.energy_mj
    assert {row.name: row.energy_mj for row in found.by_component} == dict(by_component)
    for rows in (found.by_component, found.by_device, found.by_phase, found.factors):
        assert sum(row.energy_mj for row in rows) == total
    if found.series is not None:
        assert found.series.energy_kwh[-1] == pytest.approx(total / MJ_PER_KWH)
        assert found.series.energy_mj.sum() == pytest.approx(total)
        assert len(found.series.covered_s) <= 600


@pytest.mark.slow
def test_two_hundred_thousand_intervals_are_counted_exactly(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    count, chooser = 200_000, np.random.default_rng(7)
    energies = chooser.integers(0, 400_000, count).tolist()
    chain.head = chain.ledger.append(RUN, [
        (T0_NS, interval(
            device=("cpu", "ram")[n % 2], component=("cpu", "ram")[n % 2],
            start_ns=T0_NS + n // 2 * S, end_ns=T0_NS + (n // 2 + 1) * S, energy_mj=energy,
        ))
        for n, energy in enumerate(energies)
    ], chain.head)  # fmt: skip
    found = run_figures(chain.ledger, RUN)
    assert found.total.energy_mj == sum(energies)
    assert [row.energy_mj for row in found.by_component] == [
        sum(energies[::2]),
        sum(energies[1::2]),
    ]
    assert found.series.energy_kwh[-1] == pytest.approx(sum(energies) / MJ_PER_KWH)
    assert len(found.series.covered_s) <= 600


def test_a_perplexity_too_large_to_write_is_missing(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(4, loss=False)
    chain.put(Progress(time_ns=chain.now_ns, step=5, tokens=5, loss=0.0, validation_loss=800.0))
    found = run_figures(chain.ledger, RUN)
    assert (found.train_loss.value, found.perplexity.value) == (0.0, None)


def test_a_killed_segment_whose_energy_was_booked_later_lacks_nothing(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(20)
    end_ns = chain.now_ns
    tail = Interval(
        device="GPU-5d5ba0d6", component="gpu", start_ns=end_ns, end_ns=end_ns + 10**9,
        energy_mj=300_000, method="measured", sigma_mj=0, phase="recovered",
    )  # fmt: skip
    chain.now_ns += 7200 * 10**9
    chain.put(tail, Decision(decision="recovered", why="the process was killed; 300 J are booked"))
    found = run_figures(chain.ledger, RUN)
    assert (found.status, found.segments[0].ended) == ("killed", "killed")
    assert found.segments[0].seconds == 21
    assert not any("end of segment" in gap.what for gap in found.gaps)
    assert "recovered" in {row.name for row in found.by_phase}
    chain.put(
        RunClosed(
            status="finished", exit_status=0, reason="all steps are done; the process was killed",
            step=20, tokens=20, checkpoint="step-20.ckpt",
        )
    )  # fmt: skip
    closed = run_figures(chain.ledger, RUN)
    assert (closed.status, closed.segments[0].ended) == ("finished", "finished")
    assert closed.segments[0].seconds == 21
    (one,) = runs_of(chain.ledger)
    assert (one.status, one.steps) == ("finished", 20)
    assert one.ended_ns == end_ns


@pytest.mark.parametrize(
    ("devices", "method", "sigma"), [(1, "measured", 0.0), (2, "estimated", None)]
)
def test_tokens_of_unequal_rows_are_exact_of_one_process_only(tmp_path, devices, method, sigma):
    chain = ledgers.Chain(Ledger.open(tmp_path / "l.sqlite"), RUN)
    opened = dataclasses.replace(ledgers.OPENED, config={**ledgers.CONFIG, "devices": devices})
    rows = dataclasses.replace(ledgers.CORPUS, rows=40, cut_rows=0, angles="Q->A")
    chain.put(opened, ledgers.GB, ledgers.MACHINE, rows, ledgers.MODEL)
    chain.train(4)
    tokens = run_figures(chain.ledger, RUN).tokens
    assert (tokens.method, tokens.sigma) == (method, sigma)
    assert "unequal lengths" in tokens.basis


def test_compute_counts_the_parameters_that_are_passed_and_the_gradients_that_are_made(tmp_path):
    chain = ledgers.Chain(Ledger.open(tmp_path / "l.sqlite"), RUN)
    parameters = ledgers.MODEL.parameters
    part = dataclasses.replace(
        ledgers.MODEL, parameters_per_token=parameters // 2, trained_parameters=parameters // 10
    )
    chain.put(ledgers.OPENED, ledgers.GB, ledgers.MACHINE, ledgers.CORPUS, part)
    chain.train(4)
    figures = run_figures(chain.ledger, RUN)
    expected = (4 + 2 * 0.1) * 0.5 * parameters * figures.tokens.value
    assert figures.training_compute.value == pytest.approx(expected, rel=1e-5)
    assert "encoder's for a source" in figures.training_compute.basis
