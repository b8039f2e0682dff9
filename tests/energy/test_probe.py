"""Devices are probed as a run would meter them, and none can delay that."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.probe import DeviceProbe, call_with_timeout, probe_devices
from carbon_trainer.energy.sources.nvml import discover_gpus
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, SquareWave
from tests.simulation.source import HangingSource
from tests.simulation.world import WorldClock


class SamplerClock(WorldClock):
    """Lets no time pass before the sampler sleeps, which reads all GPUs."""

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        if threading.current_thread() is threading.main_thread():
            self.await_sleepers(1)
        return super().wait(seconds, until)


@pytest.fixture(scope="module")
def probes() -> dict[str, DeviceProbe]:
    """Three GPUs that differ in refresh, cost of a read and method, probed together."""
    clock = SamplerClock(VirtualClock().now_ns())
    gpus = (
        SimulatedGpu(uuid="GPU-20", power=Constant(300), read_s=0.002),
        SimulatedGpu(uuid="GPU-100", power=Constant(500), refresh_s=0.1, read_s=0.005),
        SimulatedGpu(uuid="GPU-power", power=SquareWave(period_s=0.2), has_counter=False),
    )
    with SimulatedNvml(*gpus, clock=clock).install():
        results = probe_devices(discover_gpus({}, clock), clock=clock)
    return {probe.info.device: probe for probe in results}


@pytest.mark.slow
@pytest.mark.parametrize(("uuid", "refresh_s"), [("GPU-20", 0.02), ("GPU-100", 0.1)])
def test_a_counters_refresh_is_learnt(
    probes: dict[str, DeviceProbe], uuid: str, refresh_s: float
) -> None:
    assert probes[uuid].refresh_s == pytest.approx(refresh_s, rel=0.2)
    assert probes[uuid].problem is None


@pytest.mark.parametrize(("uuid", "read_s"), [("GPU-20", 0.002), ("GPU-100", 0.005)])
def test_the_latency_of_a_read_is_its_median_and_its_maximum(
    probes: dict[str, DeviceProbe], uuid: str, read_s: float
) -> None:
    assert read_s <= probes[uuid].read_median_s < 3 * read_s
    assert probes[uuid].read_max_s >= probes[uuid].read_median_s
    assert probes[uuid].reads > 10


def test_each_device_has_its_power_and_method(probes: dict[str, DeviceProbe]) -> None:
    for uuid, watts in (("GPU-20", 300), ("GPU-100", 500)):
        assert probes[uuid].power_w == pytest.approx(watts, rel=0.05)
        assert probes[uuid].info.name == "NVML energy counter"
    assert probes["GPU-power"].info.name == "NVML power, integrated"


def test_the_refresh_of_power_is_measured_to_the_time_between_two_reads(
    probes: dict[str, DeviceProbe],
) -> None:
    assert probes["GPU-power"].refresh_s == pytest.approx(0.1, abs=0.03)


def test_a_mig_slice_is_noted() -> None:
    gpu = SimulatedGpu(uuid="GPU-a", mig_uuids=("MIG-1",))
    with SimulatedNvml(gpu).install():
        (probe,) = probe_devices(discover_gpus({"CUDA_VISIBLE_DEVICES": "MIG-1"}), seconds=0)
    assert "whole card" in probe.info.note


@pytest.mark.slow
def test_a_lost_device_is_reported_with_its_reason_and_the_others_are_probed() -> None:
    gpus = SimulatedGpu(uuid="GPU-a", lost=True), SimulatedGpu(uuid="GPU-b")
    with SimulatedNvml(*gpus).install():
        lost, healthy = probe_devices(discover_gpus({}))
    assert "GPU is lost" in str(lost.problem)
    assert lost.power_w is None
    assert healthy.problem is None


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("carbon_trainer.energy.probe.GPU_TIMEOUT_S", 1.0)
    monkeypatch.setattr("carbon_trainer.energy.probe.HUNG_READ_S", 1.0)
    existing = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - existing:
        if thread.name == "probe stop" or thread.name.startswith("sampler"):
            thread.join(30)


@pytest.mark.slow
@pytest.mark.parametrize("answers", [0, 5])
def test_a_device_that_hangs_is_reported_and_not_waited_for(
    short_timeouts: None, answers: int
) -> None:
    hanging = HangingSource(answers)
    start_s = time.monotonic()
    # It is not metered for as long as this only because it hangs.
    (probe,) = probe_devices([hanging], seconds=50)
    took_s = time.monotonic() - start_s
    hanging.released.set()
    assert re.fullmatch(r"it has not answered for \d+ s", str(probe.problem))
    assert probe.reads == answers
    assert took_s < 40


def test_a_call_that_does_not_return_in_time_has_no_result() -> None:
    released = threading.Event()
    assert call_with_timeout(0.05, lambda: released.wait(60)) is None
    released.set()
    assert call_with_timeout(30, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(30, lambda: 1 // 0)
