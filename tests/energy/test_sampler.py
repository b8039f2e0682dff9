"""The sampler's threads: several counters are read in one waking, as far as none can tell."""

from __future__ import annotations

import threading

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.meter import EnergyMeter
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import SquareWave
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


def test_eight_counters_are_read_in_few_wakings_and_as_truly() -> None:
    clock, gpus = CountingClock(), eight_gpus()
    with (
        SimulatedNvml(*gpus, clock=clock).install(),
        EnergyMeter(host=False, clock=clock) as meter,
    ):
        clock.await_sleepers(SAMPLERS_OF_EIGHT)
        clock.advance(10)  # the counters' refresh is learnt
        begin_ns, learnt = clock.now_ns(), clock.wakes
        clock.advance(20)
        end_ns, wakes_per_s = clock.now_ns(), (clock.wakes - learnt) / 20
        clock.advance(1)
        energy_mj = meter.energy(begin_ns, end_ns).energy_mj
    # Were each counter read at a time of its own, it would be 86.
    assert wakes_per_s < 45
    true_mj = sum(gpu.true_mj(begin_ns, end_ns) for gpu in gpus)
    assert energy_mj == pytest.approx(true_mj, rel=0.0005)
