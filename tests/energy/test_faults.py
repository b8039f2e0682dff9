"""What must not happen: silent zeros, false peaks, figures that change after the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.sources.base import Component, Reading, SourceLostError
from carbon_trainer.energy.sources.host import HostTracker, host_sources
from tests.energy.drive import Driven
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, SquareWave
from tests.simulation.source import ConstantSource

S = 1_000_000_000


class HangingSource(ConstantSource):
    """Answers until it is told to hang, then not before it is released."""

    def __init__(self) -> None:
        super().__init__(100)
        self.hangs = threading.Event()
        self.hung = threading.Event()
        self.released = threading.Event()

    def read(self) -> Reading:
        if self.hangs.is_set():
            self.hung.set()
            self.released.wait(60)
        return super().read()


def test_a_driver_that_wakes_up_after_the_end_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("carbon_trainer.energy.sampler.JOIN_S", 0.2)
    source = HangingSource()
    meter = EnergyMeter([source])
    meter.start()
    source.hangs.set()
    assert source.hung.wait(30)
    before = meter.stop()
    source.released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("sampler"):
            thread.join(30)
    assert meter.summary() == before
    assert sum(i.energy_mj for i in meter.drain_intervals(final=True)) == before.energy_mj


def test_a_driver_that_hangs_in_mid_run_is_told_before_the_end() -> None:
    clock, events = VirtualClock(), list[MeterEvent]()
    source = HangingSource()
    poller = Poller(source, EnergyCurve(clock.now_ns()), clock, events.append)
    poller.poll()
    source.hangs.set()
    thread = threading.Thread(target=poller.poll)
    thread.start()
    assert source.hung.wait(30)
    poller.check_hung()
    assert events == []
    clock.advance(6)
    poller.check_hung()
    assert [event.kind for event in events] == ["lost"]
    source.released.set()
    thread.join(30)


def test_a_sampler_that_was_held_up_sees_no_false_peak() -> None:
    driven = Driven(SimulatedGpu(power=Constant(500), refresh_s=0.02))
    driven.run(3)
    for _ in range(30):
        driven.clock.advance(0.2)
        driven.run(0.5)
    assert driven.curve.peak_power_w() == pytest.approx(500, rel=0.2)


@pytest.mark.parametrize("refresh_s", [0.02, 0.1])
def test_the_end_is_measured_up_to_the_counters_next_change(refresh_s: float) -> None:
    gpu = SimulatedGpu(power=SquareWave(), refresh_s=refresh_s)
    driven = Driven(gpu)
    driven.run(5)
    end_ns = driven.clock.now_ns()
    with driven.library.install():
        driven.poller.finish()
    assert (driven.curve.final_until_ns or 0) >= end_ns


@pytest.mark.slow
def test_a_meter_that_nobody_drains_keeps_its_total_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("carbon_trainer.energy.knots.MAX_KNOTS", 2048)
    curve = EnergyCurve(0)
    for second in range(20_000):
        curve.append(Reading(second * S, second * 100, None))
    assert len(curve._knots._times) == 2048
    assert curve.total(19_999 * S).energy_mj == 1_999_900
    assert curve.total(19_999 * S).measured_s == 19_999


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".codecarbon.config"


def test_an_old_token_in_a_users_settings_opens_no_network(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(1)
        raise OSError("no network")

    monkeypatch.setattr("requests.Session.request", refuse)
    settings.write_text("[codecarbon]\nco2_signal_api_token=abc\n")
    tracker = HostTracker()
    tracker.acquire()
    time.sleep(0.1)  # CodeCarbon measures nothing over less than 50 ms
    tracker.release()
    assert tracker.reading(Component.RAM) is not None
    assert asked == []


def test_a_users_folder_that_does_not_exist_does_not_silence_the_host(settings: Path) -> None:
    settings.write_text("[codecarbon]\noutput_dir=/nonexistent/folder\n")
    tracker = HostTracker()
    tracker.acquire()
    time.sleep(0.1)
    reading = tracker.reading(Component.RAM)
    tracker.release()
    assert reading is not None
    assert reading.energy_mj is not None


def test_a_codecarbon_that_gives_nothing_is_a_lost_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("codecarbon.OfflineEmissionsTracker.flush", lambda _: None)
    cpu, _ = host_sources()
    cpu.open()
    with pytest.raises(SourceLostError, match="no figures"):
        cpu.read()
    cpu.close()


def test_cpu_and_memory_are_both_measured_to_the_end() -> None:
    cpu, ram = host_sources()
    cpu.open()
    ram.open()
    time.sleep(0.1)
    for source in (cpu, ram):
        began_ns = time.time_ns()
        source.close()
        last = source.read()
        assert last is not None
        assert last.time_ns >= began_ns - S // 20


@pytest.mark.slow
def test_parts_drained_through_loss_and_reset_sum_to_the_total() -> None:
    gpu = SimulatedGpu(power=SquareWave(), refresh_s=0.1)
    with SimulatedNvml(gpu).install():
        meter = EnergyMeter(host=False)
        meter.start()
        drained_mj = 0
        for turn in range(30):
            time.sleep(0.03)
            if turn == 15:
                gpu.reset(time.time_ns())
            drained_mj += sum(i.energy_mj for i in meter.drain_intervals())
        summary = meter.stop()
    drained_mj += sum(i.energy_mj for i in meter.drain_intervals(final=True))
    assert drained_mj == summary.energy_mj > 0
