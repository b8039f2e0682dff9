"""How near the truth steps come, and how honest their sigma is, on simulated counters."""

from __future__ import annotations

import numpy as np
import pytest

from tests.energy.drive import Driven
from tests.simulation.nvml import SimulatedGpu
from tests.simulation.power import WAVES, Constant

SECONDS = 25


def errors(driven: Driven, step_s: float, count: int = 400) -> tuple[np.ndarray, np.ndarray, float]:
    """Return errors and sigmas of random steps, and their mean truth, millijoules."""
    choose = np.random.default_rng(1)
    begins = driven.begin_ns + choose.uniform(0.1e9, (SECONDS - 3) * 1e9, count).astype(np.int64)
    ends = begins + round(step_s * 1e9)
    part = driven.curve.parts(begins, ends)
    pairs = zip(begins.tolist(), ends.tolist(), strict=True)
    truth = np.array([driven.true_mj(begin, end) for begin, end in pairs])
    return part.energy_mj - truth, np.sqrt(part.variance_mj2), float(truth.mean())


def driven(step_s: float, refresh_s: float, wave: str = "square", **gpu: object) -> Driven:
    device = SimulatedGpu(power=WAVES[wave](), refresh_s=refresh_s, **gpu)  # type: ignore[arg-type]
    one = Driven(device, step_s=step_s)
    one.run(SECONDS)
    return one


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
    off, _, mean = errors(driven(step_s, refresh_s, read_s=read_s), step_s)
    # A read of 3 ms leaves open which of its milliseconds it speaks of.
    assert np.abs(off).mean() / mean <= within + 10 * read_s


@pytest.mark.parametrize(("refresh_s", "within"), [(0.02, 0.001), (0.1, 0.003)])
def test_twenty_seconds_are_true_to_a_thousandth(refresh_s: float, within: float) -> None:
    one = driven(0.2, refresh_s)
    end_ns = one.begin_ns + 20 * 10**9
    used_mj = one.curve.energy(one.begin_ns, end_ns).energy_mj
    assert used_mj == pytest.approx(one.true_mj(one.begin_ns, end_ns), rel=within)


@pytest.mark.slow
def test_the_truth_lies_within_two_sigma_in_95_of_100_steps() -> None:
    hits = []
    for wave in WAVES:
        for refresh_s, step_s in ((0.02, 0.01), (0.02, 0.05), (0.02, 0.2), (0.1, 0.05), (0.1, 0.2)):
            off, sigma, _ = errors(driven(step_s, refresh_s, wave), step_s)
            hits.append(np.mean(np.abs(off) <= 2 * sigma))
    assert 0.93 <= np.mean(hits) <= 0.97


def test_power_at_the_moment_shapes_what_the_counter_tells() -> None:
    seen = {"has_instant": True, "instant_refresh_s": 0.02, "instant_window_s": 0.02}
    plain, *_ = errors(driven(0.05, 0.1, "training"), 0.05)
    shaped, *_ = errors(driven(0.05, 0.1, "training", **seen), 0.05)
    assert np.abs(shaped).mean() < 0.9 * np.abs(plain).mean()


def test_shaped_steps_still_sum_to_the_counter() -> None:
    plain = driven(0.05, 0.1, "training")
    shaped = driven(0.05, 0.1, "training", has_instant=True, instant_refresh_s=0.02)
    spans = [(one.curve._knots.times[0], one.curve._knots.times[-1]) for one in (plain, shaped)]
    for one, (begin, end) in zip((plain, shaped), spans, strict=True):
        used_mj = one.curve.energy(int(begin), int(end)).energy_mj
        assert used_mj == pytest.approx(one.true_mj(int(begin), int(end)), rel=2e-4)


def test_where_steps_are_long_the_device_is_looked_at_less() -> None:
    short, long = driven(0.05, 0.02), driven(2.0, 0.02)
    assert long.polls < short.polls / 2
    assert short.polls < 1.4 * SECONDS / 0.02


def test_a_start_seen_late_on_a_busy_machine_is_dated_by_the_refresh() -> None:
    gpu = SimulatedGpu(power=Constant(250), refresh_s=0.02)
    driven = Driven(gpu)
    driven.run(0.001)
    for _ in range(2):  # others have the processor
        driven.clock.advance(0.35)
        driven.run(0.001)
    driven.run(2)
    now_ns = driven.clock.now_ns()
    true_mj = driven.true_mj(driven.begin_ns, now_ns)
    assert driven.curve.total(now_ns).energy_mj == pytest.approx(true_mj, rel=0.01)
