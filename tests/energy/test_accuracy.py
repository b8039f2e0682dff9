"""The errors of steps on simulated counters, and whether their sigma states them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.energy.metered_gpu import MeteredGpu
from tests.simulation.nvml import SimulatedGpu
from tests.simulation.power import WAVES

SECONDS = 25


def errors(
    metered: MeteredGpu, step_s: float, count: int = 400
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return errors and sigmas of random steps, and their mean truth, millijoules."""
    generator = np.random.default_rng(1)
    begins = metered.begin_ns + generator.uniform(0.1e9, (SECONDS - 3) * 1e9, count).astype(
        np.int64
    )
    ends = begins + round(step_s * 1e9)
    parts = metered.curve.parts(begins, ends)
    pairs = zip(begins.tolist(), ends.tolist(), strict=True)
    truth = np.array([metered.true_mj(begin, end) for begin, end in pairs])
    return parts.energy_mj - truth, np.sqrt(parts.variance_mj2), float(truth.mean())


def metered_gpu(step_s: float, refresh_s: float, wave: str = "square", **gpu: object) -> MeteredGpu:
    device = SimulatedGpu(power=WAVES[wave](), refresh_s=refresh_s, **gpu)  # type: ignore[arg-type]
    metered = MeteredGpu(device, step_s=step_s)
    metered.run(SECONDS)
    return metered


@pytest.mark.parametrize(
    ("refresh_s", "step_s", "within"),
    [
        (0.02, 0.01, 0.06),
        (0.02, 0.05, 0.02),
        (0.02, 0.2, 0.007),
        (0.1, 0.05, 0.2),
        (0.1, 0.2, 0.06),
    ],
)
@pytest.mark.parametrize("read_s", [0.0, 0.003])
def test_steps_shorter_than_the_power_s_period_are_near_the_truth(
    refresh_s: float, step_s: float, within: float, read_s: float
) -> None:
    off, _, mean = errors(metered_gpu(step_s, refresh_s, read_s=read_s), step_s)
    # A read of 3 ms leaves open in which of its milliseconds the counter was read.
    assert np.abs(off).mean() / mean <= within + 10 * read_s


@pytest.mark.parametrize(("refresh_s", "within"), [(0.02, 0.001), (0.1, 0.003)])
def test_twenty_seconds_are_true_to_a_thousandth(refresh_s: float, within: float) -> None:
    metered = metered_gpu(0.2, refresh_s)
    end_ns = metered.begin_ns + 20 * 10**9
    energy_mj = metered.curve.energy(metered.begin_ns, end_ns).energy_mj
    assert energy_mj == pytest.approx(metered.true_mj(metered.begin_ns, end_ns), rel=within)


@pytest.mark.slow
def test_the_truth_lies_within_two_sigma_in_95_of_100_steps() -> None:
    hits = []
    for wave in WAVES:
        for refresh_s, step_s in ((0.02, 0.01), (0.02, 0.05), (0.02, 0.2), (0.1, 0.05), (0.1, 0.2)):
            off, sigma, _ = errors(metered_gpu(step_s, refresh_s, wave), step_s)
            hits.append(np.mean(np.abs(off) <= 2 * sigma))
    assert 0.93 <= np.mean(hits) <= 0.97


def test_samples_of_power_give_a_better_profile_of_what_the_counter_measures() -> None:
    instant = {"has_instant": True, "instant_refresh_s": 0.02, "instant_window_s": 0.02}
    plain, *_ = errors(metered_gpu(0.05, 0.1, "training"), 0.05)
    shaped, *_ = errors(metered_gpu(0.05, 0.1, "training", **instant), 0.05)
    assert np.abs(shaped).mean() < 0.9 * np.abs(plain).mean()


def test_shaped_steps_still_sum_to_the_counter() -> None:
    plain = metered_gpu(0.05, 0.1, "training")
    shaped = metered_gpu(0.05, 0.1, "training", has_instant=True, instant_refresh_s=0.02)
    for metered in (plain, shaped):
        times_ns = metered.curve._knots.times
        begin_ns, end_ns = int(times_ns[0]), int(times_ns[-1])
        energy_mj = metered.curve.energy(begin_ns, end_ns).energy_mj
        assert energy_mj == pytest.approx(metered.true_mj(begin_ns, end_ns), rel=2e-4)
