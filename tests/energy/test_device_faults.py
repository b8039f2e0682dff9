"""Every expected fault of a device: the curve states it, and metering goes on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import pytest

from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.base import Method
from tests.energy.metered_gpu import MeteredGpu
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, SquareWave
from tests.simulation.source import ConstantSource

S = 1_000_000_000


def metered_gpu(**gpu: object) -> MeteredGpu:
    return MeteredGpu(SimulatedGpu(power=Constant(400), **gpu), step_s=0.2)  # type: ignore[arg-type]


def test_a_counter_that_is_reset_costs_one_refresh_of_certainty() -> None:
    metered = metered_gpu()
    metered.run(10)
    metered.gpu.reset(metered.clock.now_ns())
    metered.run(10)
    end_ns = metered.clock.now_ns()
    total = metered.curve.total(end_ns)
    assert total.energy_mj == pytest.approx(metered.true_mj(metered.begin_ns, end_ns), rel=0.005)
    assert 0 < total.estimated_s < 0.2
    assert total.unknown_s == 0


def test_a_reset_at_any_moment_is_bridged_to_a_fraction_of_a_refresh() -> None:
    moments = random.Random(1)
    errors_j = []
    for _ in range(50):
        metered = metered_gpu(refresh_s=0.1)
        metered.run(moments.uniform(0.1, 1))
        metered.gpu.reset(metered.clock.now_ns())
        metered.run(1)
        end_ns = metered.clock.now_ns()
        total = metered.curve.total(end_ns)
        errors_j.append((total.energy_mj - metered.true_mj(metered.begin_ns, end_ns)) / 1000)
        assert abs(errors_j[-1]) < 3 * total.sigma_mj / 1000
    refresh_j = 0.1 * 400
    assert np.sqrt(np.mean(np.square(errors_j))) < 0.15 * refresh_j


def test_a_counter_that_wraps_is_not_negative_energy() -> None:
    metered = metered_gpu(wrap_mj=987_654_321 + 4_000_000)
    metered.run(20)
    end_ns = metered.clock.now_ns()
    assert metered.curve.total(end_ns).energy_mj == pytest.approx(
        metered.true_mj(metered.begin_ns, end_ns), rel=0.005
    )


def test_a_permission_that_vanishes_is_reported_with_its_reason_until_it_is_back() -> None:
    metered = metered_gpu()
    metered.run(5)
    metered.gpu.forbidden = True
    metered.run(5)
    assert metered.event_kinds == ["lost"]
    assert "Insufficient Permissions" in metered.events[0].reason
    metered.gpu.forbidden = False
    metered.run(10)
    assert metered.events[-1].kind == "back"
    end_ns = metered.clock.now_ns()
    assert metered.curve.total(end_ns).energy_mj == pytest.approx(
        metered.true_mj(metered.begin_ns, end_ns), rel=0.005
    )


def test_where_a_counter_vanishes_power_is_integrated() -> None:
    metered = metered_gpu()
    metered.run(5)
    metered.gpu.has_counter = False
    metered.run(20)
    end_ns = metered.clock.now_ns()
    assert metered.curve.power_w() == pytest.approx(400, rel=0.01)
    total = metered.curve.total(end_ns)
    assert total.unknown_s < 3
    assert "integrated" in metered.poller.describe().name


def test_a_lost_gpu_adds_no_known_energy_but_a_budget_still_counts_it() -> None:
    metered = metered_gpu()
    metered.run(10)
    metered.gpu.lost = True
    lost_ns = metered.clock.now_ns()
    metered.run(10)
    end_ns = metered.clock.now_ns()
    total = metered.curve.total(end_ns)
    assert total.unknown_s == pytest.approx((end_ns - lost_ns) / S, abs=0.5)
    assert total.energy_mj == pytest.approx(400 * 10 * 1000, rel=0.02)
    assert (
        metered.curve.used_mj(end_ns, upper=True) >= 0.98 * 400 * (end_ns - metered.begin_ns) / 1e6
    )


def test_a_counter_that_stops_is_not_a_silent_zero() -> None:
    metered = metered_gpu()
    metered.run(5)
    metered.gpu.refresh_s = 1e6
    metered.run(10)
    assert "not changed" in metered.events[0].reason
    assert metered.curve.total(metered.clock.now_ns()).unknown_s > 9
    metered.gpu.refresh_s = 0.02
    metered.run(5)
    assert metered.events[-1].kind == "back"
    assert metered.curve.total(metered.clock.now_ns()).unknown_s == 0


def test_a_suspended_machine_leaves_integrated_power_unknown() -> None:
    metered = metered_gpu(has_counter=False)
    metered.run(5)
    metered.clock.advance(3600)
    metered.run(5)
    total = metered.curve.total(metered.clock.now_ns())
    assert total.unknown_s == pytest.approx(3600, abs=1)
    assert total.energy_mj == pytest.approx(400 * 10 * 1000, rel=0.02)
    assert metered.event_kinds == ["lost", "back"]


def test_a_suspended_machine_does_not_stop_a_counter() -> None:
    metered = metered_gpu()
    metered.run(5)
    metered.clock.advance(3600)
    metered.run(5)
    end_ns = metered.clock.now_ns()
    assert metered.curve.total(end_ns).energy_mj == pytest.approx(
        metered.true_mj(metered.begin_ns, end_ns), rel=1e-3
    )


def test_a_power_that_is_a_mean_over_a_second_is_dated_back() -> None:
    gpu = SimulatedGpu(power=SquareWave(period_s=4.0), has_counter=False, power_window_s=1.0)
    metered = MeteredGpu(gpu)
    metered.run(30)
    begin_ns = metered.begin_ns + 3 * S
    truth = metered.true_mj(begin_ns, begin_ns + 20 * S)
    assert metered.curve.energy(begin_ns, begin_ns + 20 * S).energy_mj == pytest.approx(
        truth, rel=0.02
    )
    note = metered.poller.describe().note
    assert "mean over 1 s" in note


def test_a_modules_cpu_is_not_counted_twice() -> None:
    with SimulatedNvml(SimulatedGpu(module=True)).install():
        meter = EnergyMeter()
        meter.start()
        time.sleep(0.5)
        summary = meter.stop()
    (row,) = summary.devices
    assert "includes CPU and memory" in row.info.note
    assert row.info.includes_cpu


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_steps_that_a_loss_touches_say_so() -> None:
    source = ConstantSource(100)
    meter = EnergyMeter([source])
    meter.start()
    _wait_until(lambda: meter.used_mj() > 0)
    with meter.step():
        time.sleep(0.05)
    _wait_until(lambda: bool(meter.steps()))
    source.lose()
    _wait_until(lambda: meter.summary().devices[0].unknown_s > 0)
    with meter.step():
        time.sleep(0.02)
    meter.stop()
    assert [step.method for step in meter.steps()] == [Method.MEASURED, Method.UNKNOWN]
