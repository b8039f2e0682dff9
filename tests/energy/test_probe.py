"""Devices are watched as a run would meter them, and none can hold that up."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.probe import DeviceProbe, call_with_timeout, probe_devices
from carbon_trainer.energy.sources.base import Component, Reading
from carbon_trainer.energy.sources.discovery import discover_sources
from carbon_trainer.energy.sources.nvml import discover_gpus
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, SquareWave
from tests.simulation.source import ConstantSource
from tests.simulation.world import WorldClock


class Metered(WorldClock):
    """Lets no time pass before the sampler sleeps, which reads all GPUs."""

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        if threading.current_thread() is threading.main_thread():
            self.await_sleepers(1)
        return super().wait(seconds, until)


@pytest.fixture(scope="module")
def seen() -> dict[str, DeviceProbe]:
    """Three GPUs that differ in refresh, cost of a read and method, watched together."""
    clock = Metered(VirtualClock().now_ns())
    gpus = (
        SimulatedGpu(uuid="GPU-20", power=Constant(300), read_s=0.002),
        SimulatedGpu(uuid="GPU-100", power=Constant(500), refresh_s=0.1, read_s=0.005),
        SimulatedGpu(uuid="GPU-power", power=SquareWave(period_s=0.2), has_counter=False),
    )
    with SimulatedNvml(*gpus, clock=clock).install():
        watched = probe_devices(discover_gpus({}, clock), clock=clock)
    return {one.info.device: one for one in watched}


@pytest.mark.slow
@pytest.mark.parametrize(("uuid", "refresh_s"), [("GPU-20", 0.02), ("GPU-100", 0.1)])
def test_a_counters_refresh_is_learnt(
    seen: dict[str, DeviceProbe], uuid: str, refresh_s: float
) -> None:
    assert seen[uuid].refresh_s == pytest.approx(refresh_s, rel=0.2)
    assert seen[uuid].problem is None


@pytest.mark.parametrize(("uuid", "read_s"), [("GPU-20", 0.002), ("GPU-100", 0.005)])
def test_the_cost_of_a_read_is_its_median_and_its_most(
    seen: dict[str, DeviceProbe], uuid: str, read_s: float
) -> None:
    assert read_s <= seen[uuid].read_median_s < 3 * read_s
    assert seen[uuid].read_max_s >= seen[uuid].read_median_s
    assert seen[uuid].reads > 10


def test_each_device_tells_its_power_and_how_it_is_known(seen: dict[str, DeviceProbe]) -> None:
    for uuid, watts in (("GPU-20", 300), ("GPU-100", 500)):
        assert seen[uuid].power_w == pytest.approx(watts, rel=0.05)
        assert seen[uuid].info.name == "NVML energy counter"
    assert seen["GPU-power"].info.name == "NVML power, integrated"


def test_powers_refresh_is_told_to_the_time_between_two_looks(
    seen: dict[str, DeviceProbe],
) -> None:
    assert seen["GPU-power"].refresh_s == pytest.approx(0.1, abs=0.03)


def test_a_mig_slice_is_noted() -> None:
    gpu = SimulatedGpu(uuid="GPU-a", mig_uuids=("MIG-1",))
    with SimulatedNvml(gpu).install():
        (one,) = probe_devices(discover_gpus({"CUDA_VISIBLE_DEVICES": "MIG-1"}), seconds=0)
    assert "whole card" in one.info.note


@pytest.mark.slow
def test_a_lost_device_is_told_with_its_reason_and_the_others_are_watched() -> None:
    gpus = SimulatedGpu(uuid="GPU-a", lost=True), SimulatedGpu(uuid="GPU-b")
    with SimulatedNvml(*gpus).install():
        lost, well = probe_devices(discover_gpus({}))
    assert "GPU is lost" in str(lost.problem)
    assert lost.power_w is None
    assert well.problem is None


class HangingSource(ConstantSource):
    """Answers some readings, then no more before it is released."""

    def __init__(self, answers: int) -> None:
        super().__init__(100)
        self.answers = answers
        self.released = threading.Event()

    def read(self) -> Reading:
        self.answers -= 1
        if self.answers < 0:
            self.released.wait(60)
        return super().read()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("carbon_trainer.energy.probe.GPU_TIMEOUT_S", 1.0)
    monkeypatch.setattr("carbon_trainer.energy.probe.HUNG_READ_S", 1.0)
    others = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - others:
        if thread.name == "probe stop" or thread.name.startswith("sampler"):
            thread.join(30)


@pytest.mark.slow
@pytest.mark.parametrize("answers", [0, 5])
def test_a_device_that_hangs_is_told_and_not_waited_for(impatient: None, answers: int) -> None:
    hanging = HangingSource(answers)
    began_s = time.monotonic()
    # Only because it hangs is it not watched for so long.
    (one,) = probe_devices([hanging], seconds=50)
    took_s = time.monotonic() - began_s
    hanging.released.set()
    assert re.fullmatch(r"it has not answered for \d+ s", str(one.problem))
    assert one.reads == answers
    assert took_s < 40


def test_what_a_run_would_meter_is_found() -> None:
    with SimulatedNvml(SimulatedGpu()).install():
        assert [one.describe().component for one in discover_sources()] == list(Component)
    with SimulatedNvml(SimulatedGpu(module=True, name="NVIDIA GH200")).install():
        assert [one.describe().component for one in discover_sources()] == [Component.GPU]


def test_a_question_that_is_not_answered_in_time_has_no_answer() -> None:
    released = threading.Event()
    assert call_with_timeout(0.05, lambda: released.wait(60)) is None
    released.set()
    assert call_with_timeout(30, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(30, lambda: 1 // 0)
