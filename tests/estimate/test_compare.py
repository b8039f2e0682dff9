"""What answers take is as it was measured, and ways to have them compare as arithmetic says."""

from __future__ import annotations

import pytest

from carbon_trainer.estimate.compare import Use, compare, emissions
from carbon_trainer.estimate.estimate import Job, estimate
from carbon_trainer.estimate.inference import (
    MACHINES_OVER_ACCELERATORS,
    is_extrapolated,
    measured_servers,
    provider_queries,
    query_kwh,
)

JOB = Job(parameters=1e9, tokens=20e9, gpu="A100", zone="DE", pue=1.2)


def test_measured_energies_lie_in_the_interval_as_often_as_it_says() -> None:
    runs = measured_servers()
    covered = 0
    for run in runs:
        low, high = query_kwh(run.parameters, 1).interval
        joules = run.joules_per_output_token * MACHINES_OVER_ACCELERATORS
        covered += low <= joules / 3.6e6 <= high
    assert 0.7 <= covered / len(runs) <= 0.95


@pytest.mark.parametrize("model", sorted({run.model for run in measured_servers()}))
def test_a_model_left_out_is_foretold_within_a_factor_of_two_at_64_requests(model: str) -> None:
    # The line is through all loads; at the middle one a model lies near it.
    for run in measured_servers():
        if run.model == model and run.requests_at_once == 64:
            joules = query_kwh(run.parameters, 1).value * 3.6e6 / MACHINES_OVER_ACCELERATORS
            assert 0.5 < joules / run.joules_per_output_token < 2


def test_a_fuller_server_takes_less_of_the_same_answer() -> None:
    loads = {}
    for run in measured_servers():
        loads.setdefault((run.model, run.gpu), []).append(
            (run.requests_at_once, run.joules_per_output_token)
        )
    for results in loads.values():
        ordered = [joules for _, joules in sorted(results)]
        assert ordered == sorted(ordered, reverse=True)


def test_energy_is_in_proportion_to_tokens_and_grows_with_size() -> None:
    assert query_kwh(8e9, 800).value == pytest.approx(2 * query_kwh(8e9, 400).value)
    assert query_kwh(70e9, 400).value > 5 * query_kwh(8e9, 400).value
    assert is_extrapolated(1e9)
    assert not is_extrapolated(70e9)


def test_once_and_answers_add_up_and_pue_is_in_both() -> None:
    (trained, tuned, lora, large) = compare(JOB, Use(queries=1e6))
    assert trained.once is not None
    assert trained.once == estimate(JOB).energy_kwh
    assert trained.total.value == pytest.approx(trained.once.value + 1e6 * trained.query.value)
    assert trained.query.value == pytest.approx(1.2 * query_kwh(1e9, 400).value)
    assert large.once is None
    assert large.total.value == pytest.approx(1e6 * large.query.value)
    assert tuned.once is not None
    assert lora.once is not None
    assert lora.once.value / tuned.once.value == pytest.approx(4.02 / 6)
    assert emissions(large, estimate(JOB)).value == pytest.approx(
        large.total.value * 0.381, rel=0.01
    )


def test_at_the_break_even_both_take_the_same() -> None:
    trained = compare(JOB, Use(queries=1.0))[0]
    assert trained.breaks_even is not None
    (trained_again, *_, open_model) = compare(JOB, Use(queries=trained.breaks_even.value))
    assert trained_again.total.value == pytest.approx(open_model.total.value)


def test_a_model_as_large_as_the_open_one_never_breaks_even() -> None:
    ways = compare(JOB, Use(queries=1e6, open_parameters=1e9))
    assert all(way.breaks_even is None for way in ways)


def test_the_interval_of_a_sum_is_no_wider_than_its_widest_part() -> None:
    (trained, *_) = compare(JOB, Use(queries=1e9))
    assert trained.once is not None
    assert trained.total.log_sigma < max(trained.once.log_sigma, trained.query.log_sigma)


def test_what_a_provider_has_published_has_its_boundary_and_source_and_one_figure() -> None:
    for query in provider_queries():
        assert query.boundary
        assert query.source
        assert (query.energy_wh is None) != (query.emissions_g is None)
