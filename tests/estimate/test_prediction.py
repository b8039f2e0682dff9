"""A run on a known accelerator is estimated as the command would estimate it."""

from __future__ import annotations

import pytest

from carbon_trainer.estimate.estimate import Job, estimate
from carbon_trainer.estimate.prediction import predict_training


def test_a_run_is_estimated_as_by_the_command() -> None:
    prediction = predict_training(
        "NVIDIA H100 80GB HBM3", accelerators=8, parameters=10**9, tokens=2 * 10**10, pue=1.2
    )
    assert prediction is not None
    estimated = estimate(Job(parameters=1e9, tokens=2e10, gpu="H100-SXM5-80GB", gpus=8, pue=1.2))
    assert prediction.accelerator == "H100-SXM5-80GB"
    assert prediction.hours == pytest.approx(estimated.gpu_hours.value / 8)
    assert (prediction.energy_low_kwh, prediction.energy_high_kwh) == estimated.energy_kwh.interval
    assert prediction.hours_low < prediction.hours < prediction.hours_high


def test_a_board_that_is_not_known_is_not_estimated() -> None:
    assert (
        predict_training("Simulated GPU", accelerators=1, parameters=10**9, tokens=10, pue=1.0)
        is None
    )
