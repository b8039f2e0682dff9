"""A run on a known accelerator is estimated as the command would estimate it."""

from __future__ import annotations

import pytest

from carbon_trainer.estimate.estimate import Job, estimate
from carbon_trainer.estimate.foretell import foretell


def test_a_run_is_estimated_as_by_the_command() -> None:
    made = foretell(
        "NVIDIA H100 80GB HBM3", accelerators=8, parameters=10**9, tokens=2 * 10**10, pue=1.2
    )
    assert made is not None
    found = estimate(Job(parameters=1e9, tokens=2e10, gpu="H100-SXM5-80GB", gpus=8, pue=1.2))
    assert made.accelerator == "H100-SXM5-80GB"
    assert made.hours == pytest.approx(found.gpu_hours.value / 8)
    assert (made.energy_low_kwh, made.energy_high_kwh) == found.energy_kwh.interval
    assert made.hours_low < made.hours < made.hours_high


def test_a_board_that_is_not_known_is_not_estimated() -> None:
    assert foretell("Simulated GPU", accelerators=1, parameters=10**9, tokens=10, pue=1.0) is None
