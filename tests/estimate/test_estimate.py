"""What a training would take, from published runs."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.estimate import best_constant, calibrated_spread, forty_percent, left_out
from carbon_trainer.errors import InputError
from carbon_trainer.estimate.efficiency import Spread, calibrated, goodput, spread_of
from carbon_trainer.estimate.estimate import Job, board_of, estimate, power_share
from carbon_trainer.estimate.published import calibrating_runs, published_runs
from carbon_trainer.hardware.accelerators import accelerator_of, accelerators

JOB = Job(parameters=20e9, tokens=400e9, gpu="A100", gpus=96, zone="DE")
SIZES = st.floats(1e7, 2e12)
TOKENS = st.floats(1e9, 1e14)
BOARDS = st.sampled_from([board.name for board in accelerators()])


def test_hours_of_left_out_runs_are_predicted_better_than_by_any_one_utilisation() -> None:
    runs = calibrating_runs()
    error, coverage = left_out(calibrated_spread, runs)
    assert error < 0.175
    assert error < left_out(best_constant, runs)[0] - 0.02
    assert error < left_out(forty_percent, runs)[0] - 0.05
    assert 0.75 <= coverage <= 0.85


def test_each_published_run_has_a_source_and_a_reason_if_it_is_not_learnt_from() -> None:
    runs = published_runs()
    assert all(run.source for run in runs)
    assert len({run.model for run in runs}) == len(runs)
    for run in calibrating_runs():
        assert 0.2 < run.effective_mfu < 0.6, run.model


def test_hopper_and_small_models_get_less_of_their_peak_done() -> None:
    model = calibrated()
    assert model.predict(7e9, "H100-SXM5-80GB").value < model.predict(7e9, "A100-SXM4-80GB").value
    assert model.predict(1e8, "A100-SXM4-80GB").value < model.predict(1e10, "A100").value
    assert model.predict(1e10, "A100").value == model.predict(1e12, "A100").value


@given(SIZES, TOKENS, BOARDS, st.integers(1, 100_000), st.floats(1, 3))
def test_figures_agree_with_each_other(
    parameters: float, tokens: float, gpu: str, gpus: int, pue: float
) -> None:
    job = Job(parameters=parameters, tokens=tokens, gpu=gpu, gpus=gpus, pue=pue, zone="FR")
    estimated = estimate(job)
    kwh = estimated.gpu_hours.value * estimated.power_w.value * pue / 1000
    assert estimated.energy_kwh.value == pytest.approx(kwh)
    assert estimated.days.value == pytest.approx(estimated.gpu_hours.value / gpus / 24)
    assert estimated.emissions_kgco2e.value == pytest.approx(
        kwh * estimated.intensity.intensity_gco2e_per_kwh / 1000
    )
    for figure in (estimated.gpu_hours, estimated.energy_kwh, estimated.emissions_kgco2e):
        low, high = figure.interval
        assert low < figure.value < high
    # What is made of more uncertain parts is known less well.
    figures = (estimated.emissions_kgco2e, estimated.energy_kwh, estimated.gpu_hours)
    sigmas = [figure.log_sigma for figure in figures]
    assert sigmas == sorted(set(sigmas), reverse=True)


@pytest.mark.slow
@given(SIZES, TOKENS, st.floats(1.01, 10))
def test_more_tokens_or_development_take_more_in_proportion(
    parameters: float, tokens: float, more: float
) -> None:
    job = dataclasses.replace(JOB, parameters=parameters, tokens=tokens)
    once = estimate(job).energy_kwh.value
    assert estimate(dataclasses.replace(job, tokens=tokens * more)).energy_kwh.value == (
        pytest.approx(once * more)
    )
    assert estimate(dataclasses.replace(job, development=more)).energy_kwh.value == (
        pytest.approx(once * more)
    )


def test_a_known_utilisation_still_loses_hours_to_downtime() -> None:
    estimated = estimate(dataclasses.replace(JOB, mfu=0.5))
    assert estimated.effective_mfu.value == pytest.approx(0.5 * goodput().value)
    assert 0.6 < goodput().value < 1


def test_power_is_what_published_systems_drew() -> None:
    assert 0.64 < power_share().value < 1.1
    assert estimate(JOB).power_w.value == pytest.approx(400 * power_share().value)


def test_a_product_of_spreads_is_as_uncertain_as_both() -> None:
    product = Spread(2.0, 0.3).times(Spread(3.0, 0.4))
    assert product.value == pytest.approx(6.0)
    assert product.log_sigma == pytest.approx(0.5)
    low, high = product.interval
    reach = math.exp(1.2816 * 0.5)
    assert (low, high) == pytest.approx((6 / reach, 6 * reach), rel=1e-3)


def test_few_values_make_a_wide_interval() -> None:
    few, many = spread_of([1.0, 1.2]), spread_of([1.0, 1.2] * 20)
    assert few.interval[1] - few.interval[0] > many.interval[1] - many.interval[0]


@pytest.mark.parametrize(
    ("name", "board"),
    [
        ("A100", "A100-SXM4-40GB"), ("h100", "H100-SXM5-80GB"), ("H100-PCIE", "H100-PCIE-80GB"),
        ("NVIDIA H100 PCIe", "H100-PCIE-80GB"), ("rtx4090", "RTX 4090"), ("MI300X", "MI300X"),
        ("A100 80GB", "A100-SXM4-80GB"), ("A100 80GB PCIe", "A100-PCIE-80GB"),
        ("H100SXM", "H100-SXM5-80GB"), ("NVIDIA H100 80GB HBM3", "H100-SXM5-80GB"),
        ("Tesla T4", "T4"), ("gb200", "GB200 (per GPU)"), ("AMD Instinct MI300X", "MI300X"),
    ],
)  # fmt: skip
def test_a_board_is_found_by_what_people_call_it(name: str, board: str) -> None:
    assert board_of(name).name == board


@pytest.mark.parametrize("name", [board.name for board in accelerators()])
def test_each_board_is_found_by_its_own_name(name: str) -> None:
    assert board_of(name).name == name


@pytest.mark.parametrize(
    "name", ["H20", "A10", "A1", "L40", "MI300", "H2000", "T400", "H200 NVL", "RTX 4090 D", "H"]
)
def test_a_board_is_not_taken_for_another_whose_name_begins_alike(name: str) -> None:
    with pytest.raises(InputError, match="is unknown"):
        board_of(name)


@pytest.mark.parametrize(
    "label", ["NVIDIA T400 4GB", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H200 NVL"]
)
def test_a_device_is_not_taken_for_a_board_whose_name_begins_alike(label: str) -> None:
    assert accelerator_of(label) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": 0}, "--params is 0, but should be more than 0"),
        ({"tokens": -1}, "--tokens is -1"),
        ({"tokens": math.nan}, "--tokens is nan"),
        ({"tokens": math.inf}, "--tokens is more than 1e+30: give a number"),
        ({"parameters": 1e300, "tokens": 1e300}, "--params is more than 1e+30"),
        ({"gpus": 10**400}, "--gpus is more than 1e+30"),
        ({"sequence_length": 10**400}, "--sequence-length is more than 1e+30"),
        ({"gpu": "H100", "peak_tflops": 1}, "so 1 PFLOP/s is 1000"),
        ({"gpus": 0}, "--gpus is 0"),
        ({"pue": 0.9}, "--pue is 0.9, but cannot be less than 1"),
        ({"development": 0.5}, "--development is 0.5"),
        ({"mfu": 35}, "--mfu is 35, but is a share"),
        ({"mfu": 0}, "--mfu is 0"),
        ({"gpu": "H100", "peak_tflops": 1979}, "is the sparse peak of H100-SXM5-80GB"),
        ({"gpu": "H100", "peak_tflops": 3958}, "4 times the dense 16-bit peak"),
        ({"parameters": 7}, "write 7e9 or 7B"),
        ({"sequence_length": 0}, "--sequence-length is 0"),
        ({"layers": 32, "width": 4096}, "give --sequence-length too"),
        ({"layers": 32, "sequence_length": 2048}, "--layers and --hidden together"),
        ({"layers": 2, "width": 64, "sequence_length": 2048}, "do not match"),
        ({"gpu": "B100"}, "or B200?"),
        ({"gpu": "A10O"}, "Did you mean A10G"),
        ({"gpu": "A100-SXM5"}, "Did you mean A100-SXM4-"),
        ({"gpu": "H20"}, "Did you mean H200"),
        ({"gpu": ""}, "is unknown"),
        ({"zone": "XX"}, "XX"),
        ({"price_per_kwh": -0.1}, "--price-per-kwh is -0.1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        estimate(dataclasses.replace(JOB, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_largest_job_that_is_taken_still_has_figures() -> None:
    most = 1e30
    job = Job(
        parameters=most, tokens=most, gpu="H100", pue=most, price_per_kwh=most, development=most,
        sequence_length=10**30,
    )  # fmt: skip
    estimated = estimate(job)
    assert all(map(math.isfinite, estimated.emissions_kgco2e.interval))
    assert estimated.cost is not None
    assert math.isfinite(estimated.cost.interval[1])


def test_a_board_whose_making_is_unknown_has_no_embodied_range() -> None:
    assert estimate(dataclasses.replace(JOB, gpu="RTX 4090")).embodied_kgco2e is None
    low, high = estimate(JOB).embodied_kgco2e or (0, 0)
    assert 0 < low < high
