"""The energy of a wave's steps is estimated from the counter over the whole wave."""

from __future__ import annotations

import random

import numpy as np
import pytest

from carbon_trainer.acceptance.reference import Wave, reference_of
from carbon_trainer.acceptance.sensors import SensorTrace
from carbon_trainer.clock import NS_PER_S
from tests.simulation.power import Pieces

BUSY_W, IDLE_W = 600.0, 110.0


def wave_of(half_s: float, seconds: float = 10.0, rise_w: float = 0.0) -> tuple[Wave, Pieces]:
    """Return a wave whose steps are a busy and an idle half, and its true power.

    Args:
        half_s: how long a half is.
        seconds: how long all are.
        rise_w: how much less is drawn in the first fifth of a busy half.
    """
    choose = random.Random(2)
    lengths, watts, edges, begins, ends = [], [], [0], [], []
    while edges[-1] < seconds * NS_PER_S:
        busy, idle = (round(half_s * choose.uniform(0.8, 1.2) * NS_PER_S) for _ in range(2))
        gap = round(choose.uniform(0, 0.15) * NS_PER_S) if len(begins) % 3 == 0 else 0
        first = round(half_s * NS_PER_S / 5)
        lengths += [first, busy - first, idle + gap]
        watts += [BUSY_W - rise_w, BUSY_W, IDLE_W]
        begins.append(edges[-1])
        ends.append(edges[-1] + busy + idle)
        edges += [edges[-1] + busy, edges[-1] + busy + idle + gap]
    halves = np.arange(len(edges) - 1) % 2 == 0
    wave = Wave(np.array(edges), halves, half_s, np.array(begins), np.array(ends))
    return wave, Pieces(tuple(lengths), tuple(watts))


def counter_of(power: Pieces, refresh_s: float, lag_s: float, until_ns: int) -> SensorTrace:
    """Return the changes of a counter that is behind, polled each millisecond."""
    choose = random.Random(3)
    times_ns = np.arange(0, until_ns, round(refresh_s * NS_PER_S)) + round(lag_s * NS_PER_S)
    polled_ns = np.array([time_ns + choose.randrange(1_000_000) for time_ns in times_ns])
    values = [round(1000 * power.energy_j(int(t) - round(lag_s * NS_PER_S))) for t in times_ns]
    return SensorTrace(polled_ns, np.array(values), np.zeros(len(polled_ns)))


def truth_of(wave: Wave, power: Pieces) -> np.ndarray:
    pairs = zip(wave.begins_ns.tolist(), wave.ends_ns.tolist(), strict=True)
    return np.array([power.energy_j(end) - power.energy_j(begin) for begin, end in pairs])


@pytest.mark.parametrize("refresh_s", [0.02, 0.1])
@pytest.mark.parametrize("half_s", [0.025, 0.1, 0.2])
def test_each_step_is_estimated_to_a_percent(half_s: float, refresh_s: float) -> None:
    wave, power = wave_of(half_s)
    counter = counter_of(power, refresh_s, 0.0, int(wave.edges_ns[-1]))
    reference = reference_of(wave, counter)
    assert reference is not None
    truth = truth_of(wave, power)
    assert np.mean(np.abs(reference.energy_j - truth)) < 0.015 * truth.mean()
    assert reference.busy_w == pytest.approx(BUSY_W, rel=0.03)


def test_the_lag_of_a_counter_is_estimated() -> None:
    wave, power = wave_of(0.1)
    counter = counter_of(power, 0.1, 0.04, int(wave.edges_ns[-1]))
    reference = reference_of(wave, counter)
    assert reference is not None
    assert reference.lag_s == pytest.approx(0.04, abs=0.004)
    truth = truth_of(wave, power)
    assert np.mean(np.abs(reference.energy_j - truth)) < 0.01 * truth.mean()


def test_power_that_rises_slowly_takes_a_piece_of_its_own() -> None:
    wave, power = wave_of(0.1, rise_w=200)
    counter = counter_of(power, 0.02, 0.0, int(wave.edges_ns[-1]))
    reference = reference_of(wave, counter)
    assert reference is not None
    truth = truth_of(wave, power)
    assert np.mean(np.abs(reference.energy_j - truth)) < 0.01 * truth.mean()


@pytest.mark.parametrize("half_s", [0.025, 0.1])
def test_its_sigma_covers_its_errors(half_s: float) -> None:
    wave, power = wave_of(half_s)
    counter = counter_of(power, 0.1, 0.0, int(wave.edges_ns[-1]))
    reference = reference_of(wave, counter)
    assert reference is not None
    errors_j = np.abs(reference.energy_j - truth_of(wave, power))
    assert np.mean(errors_j <= 3 * reference.sigma_j) > 0.9


def test_a_counter_that_hardly_changes_gives_no_reference() -> None:
    wave, power = wave_of(0.1, seconds=1)
    counter = counter_of(power, 0.1, 0.0, int(wave.edges_ns[-1]))
    assert reference_of(wave, counter) is None
