"""The meter: any loop at all, every device, every phase, and sums that agree."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.base import Method
from carbon_trainer.energy.steps import MAX_STEPS
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import SquareWave
from tests.simulation.source import ConstantSource, HangingSource
from tests.simulation.world import WorldClock


def _await_reading(meter: EnergyMeter) -> None:
    """Wait until the sampler has read something."""
    for _ in range(6000):
        if meter.used_mj() > 0:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was metered")


def test_a_loop_is_metered_with_its_steps() -> None:
    with EnergyMeter([ConstantSource(100)]) as meter:
        for _ in range(5):
            with meter.step():
                time.sleep(0.02)
    summary = meter.summary()
    assert summary.steps == 5
    assert summary.energy_j == pytest.approx(100 * summary.seconds, rel=0.05)
    assert sum(s.energy_j for s in meter.steps()) == pytest.approx(
        100 * sum(s.end_ns - s.begin_ns for s in meter.steps()) / 1e9, rel=0.05
    )


def test_the_real_sampler_on_a_simulated_gpu_is_true_within_a_percent() -> None:
    clock = WorldClock(VirtualClock().now_ns())
    gpu = SimulatedGpu(power=SquareWave())
    library = SimulatedNvml(gpu, clock=clock)
    with library.install(), EnergyMeter(host=False, clock=clock) as meter:
        clock.await_sleepers(1)
        clock.advance(3)
        meter.stop()
    summary = meter.summary()
    assert summary.energy_mj == pytest.approx(
        gpu.true_mj(summary.begin_ns, summary.end_ns), rel=0.01
    )


def test_starting_does_not_wait_for_anything() -> None:
    hung = HangingSource(answers=0)
    meter = EnergyMeter([hung])
    start_s = time.monotonic()
    meter.start()
    assert time.monotonic() - start_s < 30
    hung.released.set()
    meter.stop()


@pytest.mark.slow
def test_a_hung_driver_delays_neither_others_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbon_trainer.energy.sampler.JOIN_S", 2.0)
    hung = HangingSource(answers=0)
    meter = EnergyMeter([hung, ConstantSource(100)])
    meter.start()
    _await_reading(meter)
    start_s = time.monotonic()
    summary = meter.stop()
    assert time.monotonic() - start_s < 30
    rows = {row.info.device: row for row in summary.devices}
    assert rows["GPU-hung"].unknown_s == pytest.approx(summary.seconds, abs=0.01)
    assert rows["GPU-simulated"].unknown_s == 0
    assert "GPU-hung" in [event.device for event in meter.events() if event.lost]
    hung.released.set()


def test_intervals_are_contiguous_and_sum_to_the_total() -> None:
    meter = EnergyMeter([ConstantSource(300)])
    meter.start()
    intervals = []
    for name in ("prepare", "train", "validation", "train"):
        meter.set_phase(name)
        for _ in range(3):
            with meter.step():
                time.sleep(0.02)
        intervals += meter.drain_intervals()
    summary = meter.stop()
    intervals += meter.drain_intervals(final=True)
    assert sum(i.energy_mj for i in intervals) == summary.energy_mj
    assert intervals[0].start_ns == summary.begin_ns
    assert intervals[-1].end_ns == summary.end_ns
    for interval, following in pairwise(intervals):
        assert interval.end_ns == following.start_ns
    assert sum(i.steps for i in intervals) == 12
    assert {"prepare", "train", "validation"} <= {i.phase for i in intervals}


def test_a_phase_ends_with_its_block() -> None:
    meter = EnergyMeter([ConstantSource()])
    meter.start()
    meter.set_phase("train")
    with meter.phase("checkpoint"):
        time.sleep(0.03)
    time.sleep(0.03)
    meter.stop()
    phases = [i.phase for i in meter.drain_intervals(final=True)]
    assert [p for p in phases if p != "run"][-2:] == ["checkpoint", "train"]


def test_a_lost_device_is_reported_and_its_time_is_unknown() -> None:
    source = ConstantSource(100)
    meter = EnergyMeter([source])
    meter.start()
    _await_reading(meter)
    source.lose()
    for _ in range(6000):
        events = meter.events()
        if events:
            break
        time.sleep(0.01)
    assert events[0].lost
    time.sleep(0.05)
    summary = meter.stop()
    intervals = meter.drain_intervals(final=True)
    assert summary.devices[0].unknown_s > 0
    assert Method.UNKNOWN in {i.method for i in intervals}
    assert sum(i.energy_mj for i in intervals) == summary.energy_mj


def test_stopping_twice_gives_the_same_summary() -> None:
    meter = EnergyMeter([ConstantSource()])
    meter.start()
    assert meter.stop() == meter.stop()


def test_a_meter_meters_once() -> None:
    meter = EnergyMeter([])
    meter.start()
    meter.stop()
    with pytest.raises(RuntimeError, match="make a new one"):
        meter.start()


def test_a_meter_without_devices_says_so() -> None:
    with EnergyMeter([]) as meter:
        pass
    assert "nothing could be metered" in str(meter.summary())


def test_times_of_very_many_steps_take_no_more_room() -> None:
    meter = EnergyMeter([ConstantSource()])
    meter.start()
    for _ in range(MAX_STEPS + 50):
        meter.step_begin()
        meter.step_end()
    assert len(meter._step_times.recent()[0]) == MAX_STEPS
    assert meter.stop().steps == MAX_STEPS + 50


def test_the_upper_estimate_is_not_below_the_estimate() -> None:
    meter = EnergyMeter([ConstantSource(250)])
    meter.start()
    _await_reading(meter)
    lower_mj = meter.used_mj()
    assert meter.used_mj(upper=True) >= lower_mj
    assert meter.peak_power_w() == pytest.approx(250, rel=0.2)
    meter.stop()


def test_a_driver_that_returns_after_the_end_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("carbon_trainer.energy.sampler.JOIN_S", 0.2)
    source = HangingSource()
    meter = EnergyMeter([source])
    meter.start()
    source.hangs.set()
    assert source.is_hanging.wait(30)
    summary = meter.stop()
    source.released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("sampler"):
            thread.join(30)
    assert meter.summary() == summary
    assert sum(i.energy_mj for i in meter.drain_intervals(final=True)) == summary.energy_mj


@pytest.mark.slow
def test_parts_drained_through_loss_and_reset_sum_to_the_total() -> None:
    gpu = SimulatedGpu(power=SquareWave(), refresh_s=0.1)
    with SimulatedNvml(gpu).install():
        meter = EnergyMeter(host=False)
        meter.start()
        drained_mj = 0
        for iteration in range(30):
            time.sleep(0.03)
            if iteration == 15:
                gpu.reset(time.time_ns())
            drained_mj += sum(i.energy_mj for i in meter.drain_intervals())
        summary = meter.stop()
    drained_mj += sum(i.energy_mj for i in meter.drain_intervals(final=True))
    assert drained_mj == summary.energy_mj > 0


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
