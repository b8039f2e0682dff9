"""One source read into one curve: hung calls, late polls, the last reading."""

from __future__ import annotations

import threading

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.sources.nvml import discover_gpus
from tests.energy.metered_gpu import MeteredGpu
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, SquareWave
from tests.simulation.source import HangingSource


def test_a_driver_that_hangs_during_a_run_is_reported_before_the_end() -> None:
    clock, events = VirtualClock(), list[MeterEvent]()
    source = HangingSource()
    poller = Poller(source, EnergyCurve(clock.now_ns()), clock, events.append)
    poller.poll()
    source.hangs.set()
    thread = threading.Thread(target=poller.poll)
    thread.start()
    assert source.is_hanging.wait(30)
    poller.check_hung()
    assert events == []
    clock.advance(6)
    poller.check_hung()
    assert [event.kind for event in events] == ["lost"]
    source.released.set()
    thread.join(30)


def test_late_polls_make_no_false_peak() -> None:
    metered = MeteredGpu(SimulatedGpu(power=Constant(500), refresh_s=0.02))
    metered.run(3)
    for _ in range(30):
        metered.clock.advance(0.2)
        metered.run(0.5)
    assert metered.curve.peak_power_w() == pytest.approx(500, rel=0.2)


@pytest.mark.parametrize("refresh_s", [0.02, 0.1])
def test_the_end_is_measured_up_to_the_counters_next_change(refresh_s: float) -> None:
    gpu = SimulatedGpu(power=SquareWave(), refresh_s=refresh_s)
    metered = MeteredGpu(gpu)
    metered.run(5)
    end_ns = metered.clock.now_ns()
    with metered.library.install():
        metered.poller.finish()
    assert (metered.curve.final_until_ns or 0) >= end_ns


def test_a_read_of_ten_seconds_loses_no_energy() -> None:
    clock, events = VirtualClock(), list[MeterEvent]()
    gpu = SimulatedGpu(power=Constant(400), refresh_s=0.02)
    gpu.origin_ns = clock.now_ns()
    library = SimulatedNvml(gpu, clock=clock)
    with library.install():
        (source,) = discover_gpus({}, clock)
        begin_ns = clock.now_ns()
        poller = Poller(source, EnergyCurve(begin_ns, stepped=True), clock, events.append)
        for poll in range(1500):
            gpu.hang_s = 10.0 if poll == 700 else 0.0
            clock.advance(poller.poll())
        end_ns = clock.now_ns()
    total = poller.curve.total(end_ns)
    assert total.energy_mj == pytest.approx(gpu.true_mj(begin_ns, end_ns), rel=0.005)
