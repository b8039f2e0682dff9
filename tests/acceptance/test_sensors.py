"""NVML read directly, and energy from its traces."""

from __future__ import annotations

import numpy as np
import pytest

from carbon_trainer.acceptance.sensors import (
    Recorder,
    Sensors,
    SensorTrace,
    counter_energy_j,
    power_energy_j,
    trace_sensor,
)
from carbon_trainer.clock import NS_PER_S
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant

S = NS_PER_S


def shown(*pairs: tuple[float, float]) -> SensorTrace:
    """Return changes at seconds, to values in thousandths."""
    times, values = zip(*pairs, strict=True)
    return SensorTrace(
        np.array([round(time_s * S) for time_s in times]),
        np.array([round(1000 * value) for value in values]),
        np.zeros(len(pairs)),
    )


def test_a_counters_energy_is_interpolated_and_has_an_uncertainty() -> None:
    counter = shown((0, 0), (1, 100), (2, 200), (3, 300))
    result = counter_energy_j(counter, S // 2, 5 * S // 2)
    assert result is not None
    energy_j, sigma_j = result
    assert energy_j == pytest.approx(200)
    # Two ends, each somewhere within a refresh of 100 J.
    assert sigma_j == pytest.approx(100 / np.sqrt(12) * np.sqrt(2))


@pytest.mark.parametrize(("begin_s", "end_s"), [(-1, 2), (1, 9)])
def test_beyond_its_changes_a_counter_gives_nothing(begin_s: int, end_s: int) -> None:
    counter = shown((0, 0), (1, 100), (2, 200), (3, 300))
    assert counter_energy_j(counter, begin_s * S, end_s * S) is None


def test_power_is_held_from_change_to_change() -> None:
    power = shown((0, 100), (1, 300), (2, 200))
    assert power_energy_j(power, S // 2, 3 * S) == pytest.approx(50 + 300 + 200)
    assert power_energy_j(power, -S, S) is None


def test_what_a_board_does_not_have_is_none() -> None:
    gpu = SimulatedGpu(has_counter=False, has_power=False)
    with SimulatedNvml(gpu).install():
        sensors = Sensors(gpu.uuid)
        assert sensors.counter_mj() is None
        assert sensors.power_mw() is None
        assert sensors.instant_mw() is None
        assert sensors.module_mw() is None
        assert not sensors.is_module()


def test_a_modules_power_is_separate() -> None:
    gpu = SimulatedGpu(has_instant=True, module=True, power=Constant(500))
    with SimulatedNvml(gpu).install():
        sensors = Sensors(gpu.uuid)
        assert sensors.module_mw() == 500_000
        assert sensors.is_module()


def test_a_refresh_is_traced() -> None:
    gpu = SimulatedGpu(refresh_s=0.02, power=Constant(400))
    with SimulatedNvml(gpu).install():
        trace = trace_sensor(Sensors(gpu.uuid).counter_mj, 0.3)
    assert trace.refresh_s == pytest.approx(0.02, rel=0.2)
    assert len(trace.read_latencies_s) > len(trace.times_ns)


def test_a_recorder_polls_all_three() -> None:
    gpu = SimulatedGpu(refresh_s=0.02, power=Constant(400), has_instant=True)
    with SimulatedNvml(gpu).install():
        recorder = Recorder(Sensors(gpu.uuid))
        with recorder:
            trace_sensor(lambda: None, 0.3, 0.01)
    begin_ns, end_ns = int(recorder.counter.times_ns[1]), int(recorder.counter.times_ns[-2])
    result = counter_energy_j(recorder.counter, begin_ns, end_ns)
    assert result is not None
    assert result[0] == pytest.approx(gpu.true_mj(begin_ns, end_ns) / 1000, abs=2)
    assert set(recorder.power.values) == set(recorder.instant.values) == {400_000}
