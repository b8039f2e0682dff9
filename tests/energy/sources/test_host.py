"""CPU and memory through the real CodeCarbon, quietly and without touching the network."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.base import Component, SourceLostError
from carbon_trainer.energy.sources.host import HostTracker, host_sources

S = 1_000_000_000


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_cpu_and_memory_are_metered_as_estimates_or_by_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    meter = EnergyMeter(host_sources())
    meter.start()
    for _ in range(9000):
        if all(row.energy_mj > 0 for row in meter.summary().devices):
            break
        time.sleep(0.01)
    summary = meter.stop()
    rows = {row.info.component: row for row in summary.devices}
    assert rows[Component.CPU].energy_mj > 0
    assert rows[Component.RAM].energy_mj > 0
    assert rows[Component.RAM].info.method == "estimated"
    assert "CodeCarbon" in rows[Component.CPU].info.name
    assert rows[Component.CPU].unknown_s == 0
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_network")
def test_a_users_own_codecarbon_settings_turn_nothing_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".codecarbon.config").write_text(
        "[codecarbon]\nsave_to_api=true\nsave_to_file=true\noutput_methods=csv,api\n"
        "emissions_endpoint=http://example.invalid\npue=3\n"
    )
    monkeypatch.setitem(os.environ, "CODECARBON_SAVE_TO_API", "true")
    tracker = HostTracker()
    tracker.acquire()
    assert tracker._tracker is not None
    assert len(tracker._tracker._output_handlers) == 1
    assert tracker._tracker._pue == 1
    tracker.release()
    assert [path.name for path in tmp_path.iterdir()] == [".codecarbon.config"]


def test_a_codecarbon_that_does_not_start_is_a_lost_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no such sensor")

    monkeypatch.setattr("codecarbon.OfflineEmissionsTracker", fail)
    cpu, _ = host_sources()
    with pytest.raises(SourceLostError, match="no such sensor"):
        cpu.open()


class LateTracker:
    """A CodeCarbon of 20 W that measures at once and reports it after some time."""

    def __init__(self, clock: VirtualClock, owner: HostTracker) -> None:
        self.clock, self.owner = clock, owner
        self.late_s = 0.0
        self._start_ns = clock.now_ns()

    def flush(self) -> None:
        energy_kwh = 20 * (self.clock.now_ns() - self._start_ns) / 1e9 / 3.6e6
        self.clock.advance(self.late_s)
        self.owner.add_emissions(SimpleNamespace(
            cpu_energy=energy_kwh, cpu_power=20, ram_energy=energy_kwh, ram_power=20
        ))  # fmt: skip


def test_a_reading_is_dated_by_its_measurement_not_by_its_report() -> None:
    clock = VirtualClock()
    tracker = HostTracker(clock)
    late = LateTracker(clock, tracker)
    tracker._tracker, tracker._users = late, 2
    late.late_s = 0.98
    first = tracker.reading(Component.RAM)
    late.late_s = 0.0
    clock.advance(0.02)
    second = tracker.reading(Component.RAM)
    assert first is not None
    assert second is not None
    seconds = (second.time_ns - first.time_ns) / 1e9
    assert (second.energy_mj - first.energy_mj) / 1000 / seconds == pytest.approx(20, rel=1e-3)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".codecarbon.config"


def test_an_old_token_in_a_users_settings_opens_no_network(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = []

    def refuse(*_: object, **__: object) -> None:
        requests.append(1)
        raise OSError("no network")

    monkeypatch.setattr("requests.Session.request", refuse)
    settings.write_text("[codecarbon]\nco2_signal_api_token=abc\n")
    tracker = HostTracker()
    tracker.acquire()
    time.sleep(0.1)  # CodeCarbon measures nothing over less than 50 ms
    tracker.release()
    assert tracker.reading(Component.RAM) is not None
    assert requests == []


def test_a_users_folder_that_does_not_exist_does_not_silence_the_host(settings: Path) -> None:
    settings.write_text("[codecarbon]\noutput_dir=/nonexistent/folder\n")
    tracker = HostTracker()
    tracker.acquire()
    time.sleep(0.1)
    reading = tracker.reading(Component.RAM)
    tracker.release()
    assert reading is not None
    assert reading.energy_mj is not None


def test_a_codecarbon_that_returns_nothing_is_a_lost_source(
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
        start_ns = time.time_ns()
        source.close()
        last = source.read()
        assert last is not None
        assert last.time_ns >= start_ns - S // 20
