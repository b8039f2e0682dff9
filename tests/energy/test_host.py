"""CPU and memory through the real CodeCarbon, quietly and without touching the network."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from carbon_trainer.energy.host import HostTracker, host_sources
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.source import Component, SourceLostError


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
    for _ in range(1500):
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
