"""What there is to meter is found, vendor by vendor, whatever another vendor's library does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.base import Component, PowerSource
from carbon_trainer.energy.sources.discovery import discover_batches, discover_sources
from tests.simulation.amdsmi import SimulatedAmd, SimulatedAmdSmi
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

AMD = "GPU-aaaa000000000001"


def batches(errors: list[str], *, include_host: bool = True) -> list[Sequence[PowerSource]]:
    return list(
        discover_batches({}, VirtualClock(), include_host=include_host, on_error=errors.append)
    )


def components(sources: Sequence[PowerSource]) -> list[Component]:
    return [source.describe().component for source in sources]


def test_what_a_run_would_meter_is_found() -> None:
    with SimulatedNvml(SimulatedGpu()).install():
        assert components(discover_sources()) == list(Component)


def test_a_module_includes_its_cpu_so_that_is_not_metered_twice() -> None:
    with SimulatedNvml(SimulatedGpu(module=True, name="NVIDIA GH200")).install():
        assert components(discover_sources()) == [Component.GPU]


def test_gpus_of_both_vendors_come_in_batches_before_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    SimulatedAmdSmi(SimulatedAmd()).install(monkeypatch)
    errors: list[str] = []
    with SimulatedNvml(SimulatedGpu(uuid="GPU-nvidia")).install():
        nvidia, amd, host = batches(errors)
        assert len(batches(errors, include_host=False)) == 2
    assert [source.describe().device for source in (*nvidia, *amd)] == ["GPU-nvidia", AMD]
    assert components(host) == [Component.CPU, Component.RAM]
    assert errors == []


def test_a_library_that_fails_is_reported_and_the_others_devices_are_found(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of another version")

    SimulatedAmdSmi(SimulatedAmd()).install(monkeypatch)
    monkeypatch.setattr("carbon_trainer.energy.sources.nvml.discover_gpus", fail)
    errors: list[str] = []
    nvidia, amd, _ = batches(errors)
    assert (len(nvidia), len(amd)) == (0, 1)
    assert errors == ["RuntimeError: of another version"]
    discover_sources()
    assert "GPUs could not be listed: RuntimeError: of another version" in caplog.text


def test_a_meter_reports_a_library_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of another version")

    monkeypatch.setattr("carbon_trainer.energy.sources.nvml.discover_gpus", fail)
    with EnergyMeter(host=False) as meter:
        pass
    (event,) = meter.events()
    assert (event.device, event.lost) == ("GPUs", True)
    assert event.reason == "RuntimeError: of another version"


def test_the_meter_finds_amd_cards_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    SimulatedAmdSmi(SimulatedAmd()).install(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    meter = EnergyMeter(host=False)
    meter.start()
    meter._discovery.join(30)
    rows = meter.stop().devices
    assert [row.info.device for row in rows] == [AMD]
