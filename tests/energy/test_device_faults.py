"""Every fault of a device that is foreseen: what the curve then says, and that the run goes on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from carbon_trainer.clock import SystemClock, VirtualClock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.sources.base import Method, Reading, SourceInfo
from tests.energy.drive import Driven
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, SquareWave
from tests.simulation.source import ConstantSource

S = 1_000_000_000


def driven(**gpu: object) -> Driven:
    return Driven(SimulatedGpu(power=Constant(400), **gpu), step_s=0.2)  # type: ignore[arg-type]


def test_a_counter_that_is_reset_costs_one_refresh_of_certainty() -> None:
    one = driven()
    one.run(10)
    one.gpu.reset(one.clock.now_ns())
    one.run(10)
    end_ns = one.clock.now_ns()
    whole = one.curve.total(end_ns)
    assert whole.energy_mj == pytest.approx(one.true_mj(one.begin_ns, end_ns), rel=0.005)
    assert 0 < whole.estimated_s < 0.2
    assert whole.unknown_s == 0


def test_a_reset_at_any_moment_is_bridged_to_a_fraction_of_a_refresh() -> None:
    moments = random.Random(1)
    errors_j = []
    for _ in range(50):
        one = driven(refresh_s=0.1)
        one.run(moments.uniform(0.1, 1))
        one.gpu.reset(one.clock.now_ns())
        one.run(1)
        end_ns = one.clock.now_ns()
        whole = one.curve.total(end_ns)
        errors_j.append((whole.energy_mj - one.true_mj(one.begin_ns, end_ns)) / 1000)
        assert abs(errors_j[-1]) < 3 * whole.sigma_mj / 1000
    refresh_j = 0.1 * 400
    assert np.sqrt(np.mean(np.square(errors_j))) < 0.15 * refresh_j


def test_a_counter_that_wraps_is_no_negative_energy() -> None:
    one = driven(wrap_mj=987_654_321 + 4_000_000)
    one.run(20)
    end_ns = one.clock.now_ns()
    assert one.curve.total(end_ns).energy_mj == pytest.approx(
        one.true_mj(one.begin_ns, end_ns), rel=0.005
    )


def test_a_permission_that_vanishes_is_told_with_its_reason_and_comes_back() -> None:
    one = driven()
    one.run(5)
    one.gpu.forbidden = True
    one.run(5)
    assert [event.kind for event in one.events] == ["lost"]
    assert "Insufficient Permissions" in one.events[0].reason
    one.gpu.forbidden = False
    one.run(10)
    assert one.events[-1].kind == "back"
    end_ns = one.clock.now_ns()
    assert one.curve.total(end_ns).energy_mj == pytest.approx(
        one.true_mj(one.begin_ns, end_ns), rel=0.005
    )


def test_a_counter_that_vanishes_leaves_power_to_go_by() -> None:
    one = driven()
    one.run(5)
    one.gpu.has_counter = False
    one.run(20)
    end_ns = one.clock.now_ns()
    assert one.curve.power_w() == pytest.approx(400, rel=0.01)
    whole = one.curve.total(end_ns)
    assert whole.unknown_s < 3
    assert "integrated" in one.poller.describe().name


def test_a_lost_gpu_uses_nothing_that_is_known_and_a_budget_counts_it_still() -> None:
    one = driven()
    one.run(10)
    one.gpu.lost = True
    lost_ns = one.clock.now_ns()
    one.run(10)
    end_ns = one.clock.now_ns()
    whole = one.curve.total(end_ns)
    assert whole.unknown_s == pytest.approx((end_ns - lost_ns) / S, abs=0.5)
    assert whole.energy_mj == pytest.approx(400 * 10 * 1000, rel=0.02)
    assert one.curve.used_mj(end_ns, upper=True) >= 0.98 * 400 * (end_ns - one.begin_ns) / 1e6


def test_a_counter_that_stands_still_is_no_silent_zero() -> None:
    one = driven()
    one.run(5)
    one.gpu.refresh_s = 1e6
    one.run(10)
    assert "not changed" in one.events[0].reason
    assert one.curve.total(one.clock.now_ns()).unknown_s > 9
    one.gpu.refresh_s = 0.02
    one.run(5)
    assert one.events[-1].kind == "back"
    assert one.curve.total(one.clock.now_ns()).unknown_s == 0


def test_a_suspended_machine_leaves_integrated_power_unknown() -> None:
    one = driven(has_counter=False)
    one.run(5)
    one.clock.advance(3600)
    one.run(5)
    whole = one.curve.total(one.clock.now_ns())
    assert whole.unknown_s == pytest.approx(3600, abs=1)
    assert whole.energy_mj == pytest.approx(400 * 10 * 1000, rel=0.02)
    assert [event.kind for event in one.events] == ["lost", "back"]


def test_a_suspended_machine_does_not_stop_a_counter() -> None:
    one = driven()
    one.run(5)
    one.clock.advance(3600)
    one.run(5)
    end_ns = one.clock.now_ns()
    assert one.curve.total(end_ns).energy_mj == pytest.approx(
        one.true_mj(one.begin_ns, end_ns), rel=1e-3
    )


@pytest.mark.parametrize("step_s", [-7200, 7200])
def test_a_step_of_the_machines_clock_moves_nothing(
    step_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SystemClock()
    before_ns, stepped_ns = clock.now_ns(), time.time_ns() + round(step_s * S)
    monkeypatch.setattr(time, "time_ns", lambda: stepped_ns)
    assert 0 <= clock.now_ns() - before_ns < 5 * S


def test_a_power_that_is_a_mean_over_a_second_is_dated_back() -> None:
    gpu = SimulatedGpu(power=SquareWave(period_s=4.0), has_counter=False, power_window_s=1.0)
    one = Driven(gpu)
    one.run(30)
    begin_ns = one.begin_ns + 3 * S
    truth = one.true_mj(begin_ns, begin_ns + 20 * S)
    assert one.curve.energy(begin_ns, begin_ns + 20 * S).energy_mj == pytest.approx(truth, rel=0.02)
    note = one.poller.describe().note
    assert "mean over 1 s" in note


class Hanging(ConstantSource):
    """Hangs in its second read; a counter, so it is read in company."""

    def __init__(self, device: str) -> None:
        super().__init__(100)
        self.device = device
        self.hangs = False
        self.released = threading.Event()
        self.hung = threading.Event()

    def read(self) -> Reading:
        if self.hangs:
            self.hung.set()
            self.released.wait(60)
        return super().read()

    def describe(self) -> SourceInfo:
        import dataclasses

        return dataclasses.replace(super().describe(), device=self.device, stepped=True)


@pytest.mark.slow
def test_a_driver_that_hangs_leaves_its_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbon_trainer.energy.sampler.HUNG_POLL_S", 0.1)
    monkeypatch.setattr("carbon_trainer.energy.sampler.WATCHDOG_INTERVAL_S", 0.05)
    monkeypatch.setattr("carbon_trainer.energy.sampler.JOIN_S", 2.0)
    hung, well = Hanging("GPU-hung"), Hanging("GPU-well")
    meter = EnergyMeter([hung, well])
    meter.start()
    hung.hangs = True
    assert hung.hung.wait(30)
    before_mj = meter.used_mj()
    for _ in range(6000):
        time.sleep(0.01)
        if meter.used_mj() > before_mj + 50_000:
            break
    summary = meter.stop()
    rows = {row.info.device: row for row in summary.devices}
    assert rows["GPU-well"].energy_mj > 50_000
    assert rows["GPU-well"].unknown_s == 0
    hung.released.set()


def test_a_read_of_ten_seconds_blocks_nobody_and_is_told() -> None:
    clock, events = VirtualClock(), list[MeterEvent]()
    gpu = SimulatedGpu(power=Constant(400), refresh_s=0.02)
    gpu.origin_ns = clock.now_ns()
    library = SimulatedNvml(gpu, clock=clock)
    with library.install():
        from carbon_trainer.energy.sources.nvml import discover_gpus

        (source,) = discover_gpus({}, clock)
        begin_ns = clock.now_ns()
        poller = Poller(source, EnergyCurve(begin_ns, stepped=True), clock, events.append)
        for turn in range(1500):
            gpu.hang_s = 10.0 if turn == 700 else 0.0
            clock.advance(poller.poll())
        end_ns = clock.now_ns()
    total = poller.curve.total(end_ns)
    assert total.energy_mj == pytest.approx(gpu.true_mj(begin_ns, end_ns), rel=0.005)


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


def test_phases_sum_to_the_whole() -> None:
    meter = EnergyMeter([ConstantSource(200)])
    meter.start()
    with meter.phase("train"):
        time.sleep(0.3)
    meter.drain_intervals()
    with meter.phase("validation"):
        time.sleep(0.1)
    summary = meter.stop()
    names = [row.name for row in summary.phases]
    assert names == ["run", "train", "validation"]
    assert sum(row.energy_mj for row in summary.phases) == summary.energy_mj
    assert sum(row.seconds for row in summary.phases) == pytest.approx(summary.seconds)
