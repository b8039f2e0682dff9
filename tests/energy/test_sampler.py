"""The sampler's threads: several counters are read per wake-up, at no cost in accuracy."""

from __future__ import annotations

import threading
import time

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.meter import EnergyMeter
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import SquareWave
from tests.simulation.source import HangingSource
from tests.simulation.world import WorldClock

SAMPLERS_OF_EIGHT = 2


class CountingClock(WorldClock):
    """Counts how often a sampler's thread goes to sleep, and so wakes."""

    def __init__(self) -> None:
        super().__init__(VirtualClock().now_ns())
        self.wakes = 0

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        self.wakes += threading.current_thread().name.startswith("sampler")
        return super().wait(seconds, until)


def eight_gpus() -> list[SimulatedGpu]:
    """GPUs whose counters change each 100 ms, none at the moment of another's."""
    return [
        SimulatedGpu(power=SquareWave(), refresh_s=0.1, uuid=f"GPU-{ms}", origin_ns=ms * 1_000_000)
        for ms in (0, 11, 23, 37, 52, 61, 78, 94)
    ]


def test_eight_counters_are_read_in_few_wake_ups_and_as_accurately() -> None:
    clock, gpus = CountingClock(), eight_gpus()
    with (
        SimulatedNvml(*gpus, clock=clock).install(),
        EnergyMeter(host=False, clock=clock) as meter,
    ):
        clock.await_sleepers(SAMPLERS_OF_EIGHT)
        clock.advance(10)  # the counters' refresh is learnt
        begin_ns, begin_wakes = clock.now_ns(), clock.wakes
        clock.advance(20)
        end_ns, wakes_per_s = clock.now_ns(), (clock.wakes - begin_wakes) / 20
        clock.advance(1)
        energy_mj = meter.energy(begin_ns, end_ns).energy_mj
    # If each counter were read at a time of its own, there would be 86.
    assert wakes_per_s < 45
    true_mj = sum(gpu.true_mj(begin_ns, end_ns) for gpu in gpus)
    assert energy_mj == pytest.approx(true_mj, rel=0.0005)


@pytest.mark.slow
def test_a_driver_that_hangs_is_detached_from_the_others_of_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("carbon_trainer.energy.sampler.HUNG_POLL_S", 0.1)
    monkeypatch.setattr("carbon_trainer.energy.sampler.WATCHDOG_INTERVAL_S", 0.05)
    monkeypatch.setattr("carbon_trainer.energy.sampler.JOIN_S", 2.0)
    hung = HangingSource(device="GPU-hung", stepped=True)
    healthy = HangingSource(device="GPU-healthy", stepped=True)
    meter = EnergyMeter([hung, healthy])
    meter.start()
    hung.hangs.set()
    assert hung.is_hanging.wait(30)
    hang_mj = meter.used_mj()
    for _ in range(6000):
        time.sleep(0.01)
        if meter.used_mj() > hang_mj + 50_000:
            break
    summary = meter.stop()
    rows = {row.info.device: row for row in summary.devices}
    assert rows["GPU-healthy"].energy_mj > 50_000
    assert rows["GPU-healthy"].unknown_s == 0
    hung.released.set()
