"""NVML asked directly, and energy from what it showed."""

from __future__ import annotations

import numpy as np
import pytest

from carbon_trainer.acceptance.sensors import (
    Recorder,
    Sensors,
    Watched,
    counted_j,
    integrated_j,
    watch,
)
from carbon_trainer.clock import NS_PER_S
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant

S = NS_PER_S


def shown(*pairs: tuple[float, float]) -> Watched:
    """Return changes at seconds, to values in thousandths."""
    times, values = zip(*pairs, strict=True)
    return Watched(
        np.array([round(one * S) for one in times]),
        np.array([round(1000 * one) for one in values]),
        np.zeros(len(pairs)),
    )


def test_a_counters_energy_is_interpolated_and_says_how_far_it_is_known() -> None:
    counter = shown((0, 0), (1, 100), (2, 200), (3, 300))
    found = counted_j(counter, S // 2, 5 * S // 2)
    assert found is not None
    energy_j, sigma_j = found
    assert energy_j == pytest.approx(200)
    # Two ends, each somewhere within a refresh of 100 J.
    assert sigma_j == pytest.approx(100 / np.sqrt(12) * np.sqrt(2))


@pytest.mark.parametrize(("begin_s", "end_s"), [(-1, 2), (1, 9)])
def test_beyond_its_changes_a_counter_tells_nothing(begin_s: int, end_s: int) -> None:
    counter = shown((0, 0), (1, 100), (2, 200), (3, 300))
    assert counted_j(counter, begin_s * S, end_s * S) is None


def test_power_is_held_from_change_to_change() -> None:
    power = shown((0, 100), (1, 300), (2, 200))
    assert integrated_j(power, S // 2, 3 * S) == pytest.approx(50 + 300 + 200)
    assert integrated_j(power, -S, S) is None


def test_what_a_board_does_not_have_is_none() -> None:
    gpu = SimulatedGpu(has_counter=False, has_power=False)
    with SimulatedNvml(gpu).install():
        sensors = Sensors(gpu.uuid)
        assert sensors.counter_mj() is None
        assert sensors.power_mw() is None
        assert sensors.instant_mw() is None
        assert sensors.module_mw() is None
        assert not sensors.is_module()


def test_a_modules_power_is_told_apart() -> None:
    gpu = SimulatedGpu(has_instant=True, module=True, power=Constant(500))
    with SimulatedNvml(gpu).install():
        sensors = Sensors(gpu.uuid)
        assert sensors.module_mw() == 500_000
        assert sensors.is_module()


def test_a_refresh_is_seen() -> None:
    gpu = SimulatedGpu(refresh_s=0.02, power=Constant(400))
    with SimulatedNvml(gpu).install():
        seen = watch(Sensors(gpu.uuid).counter_mj, 0.3)
    assert seen.refresh_s == pytest.approx(0.02, rel=0.2)
    assert len(seen.looks_s) > len(seen.times_ns)


def test_a_recorder_follows_all_three() -> None:
    gpu = SimulatedGpu(refresh_s=0.02, power=Constant(400), has_instant=True)
    with SimulatedNvml(gpu).install():
        recorder = Recorder(Sensors(gpu.uuid))
        with recorder:
            watch(lambda: None, 0.3, 0.01)
    begin_ns, end_ns = int(recorder.counter.times_ns[1]), int(recorder.counter.times_ns[-2])
    found = counted_j(recorder.counter, begin_ns, end_ns)
    assert found is not None
    assert found[0] == pytest.approx(gpu.true_mj(begin_ns, end_ns) / 1000, abs=2)
    assert set(recorder.power.values) == set(recorder.instant.values) == {400_000}
