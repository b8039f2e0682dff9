from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbon_trainer.planning.problem import NS_PER_H, Idle
from carbon_trainer.planning.simulation import Job, simulate
from tests.planning.problems import INFO, POWER_SETTINGS, day, series


@pytest.mark.slow
@settings(max_examples=25, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    slack=st.sampled_from([1.3, 1.6, 2.5]),
    error=st.sampled_from([-0.2, 0.0, 0.2]),
    pause_w=st.sampled_from([0.0, 190.0]),
)
def test_the_deadline_is_kept_whatever_forecasts_and_estimates_were(
    seed: int, slack: float, error: float, pause_w: float
) -> None:
    chance = np.random.default_rng(seed)
    trace = series(list(chance.uniform(20, 500, 80)))
    forecasts = [
        dataclasses.replace(
            series(list(chance.uniform(20, 500, 96)), start_ns=day_ * 24 * NS_PER_H), info=INFO
        )
        for day_ in range(4)
    ]
    job = Job(
        work_hours=8, window_hours=8 * slack, power_settings=POWER_SETTINGS,
        pause=Idle(pause_w, 60, 0.003), work_error=error,
    )  # fmt: skip
    (outcome,) = simulate(trace, job, 0, ["optimal"], forecasts)
    assert not outcome.missed
    assert outcome.emissions_gco2e >= outcome.optimum_gco2e * 0.999


def test_perfect_forecasts_reach_the_optimum() -> None:
    trace = series(day(100))
    job = Job(
        work_hours=24, window_hours=48, power_settings=POWER_SETTINGS, pause=Idle(0, 10, 0.003)
    )
    (outcome,) = simulate(trace, job, 0, ["optimal"], [trace])
    assert outcome.emissions_gco2e == pytest.approx(outcome.optimum_gco2e, rel=2e-3)
