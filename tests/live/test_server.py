"""What Prometheus gets from a run: real HTTP, real figures, nothing left open."""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.core import CounterMetricFamily

from carbon_trainer.clock import Clock, VirtualClock
from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.errors import InputError
from carbon_trainer.live.collector import RunCollector
from carbon_trainer.live.server import LiveServer
from carbon_trainer.runs.outcome import ResumePoint
from carbon_trainer.runs.session import RunSession
from tests.live.scrape import Scrape, scrape
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant
from tests.simulation.source import ConstantSource
from tests.simulation.world import WorldClock

GPUS = {"GPU-a": 100.0, "GPU-b": 300.0}


def _open(
    tmp_path: Path, meter: EnergyMeter, resume: ResumePoint | None = None,
    clock: Clock | None = None, **settings: object,
) -> RunSession:  # fmt: skip
    config = RunConfig(**{"runs_dir": tmp_path, "zone": "GB", **settings})  # type: ignore[arg-type]
    return RunSession.open(config, meter=meter, resume=resume, clock=clock)


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with LiveServer(0) as live_server:
        yield live_server


@pytest.fixture(scope="module")
def on_two_gpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scrape, RunSession]:
    """A second of a run on two simulated GPUs, in virtual time, scraped while it goes on."""
    clock = WorldClock(VirtualClock().now_ns())
    gpus = [SimulatedGpu(power=Constant(watts), uuid=uuid) for uuid, watts in GPUS.items()]
    tmp_path = tmp_path_factory.mktemp("two")
    with SimulatedNvml(*gpus, clock=clock).install(), LiveServer(0) as server:
        run = _open(
            tmp_path, EnergyMeter(host=False, clock=clock), clock=clock, name="mine", pue=1.5,
            price_per_kwh=0.2, budget_kwh=1, budget_kgco2e=2, budget_cost=3, max_steps=50,
        )  # fmt: skip
        server.watch(run)
        run.progress(7, 3500, loss=2.5, validation=2.75)
        clock.await_sleepers(1)  # the sampler
        clock.advance(1.2)
        metrics = scrape(server.url)
        run.close()
    return metrics, run


def test_each_device_tells_its_power_energy_refresh_and_method(
    on_two_gpus: tuple[Scrape, RunSession],
) -> None:
    metrics, run = on_two_gpus
    final_j = {row.info.device: row.energy_mj / 1000 for row in run.meter.summary().devices}
    for uuid, watts in GPUS.items():
        labels = {"run": run.run_id, "device": uuid, "component": "gpu", "method": "measured"}
        assert metrics.value("power_watts", **labels) == pytest.approx(watts, rel=0.05)
        energy_j = metrics.value("energy_joules_total", **labels, label="Simulated H100")
        assert 0.5 * watts < energy_j <= 1.05 * final_j[uuid]
        assert metrics.value("refresh_seconds", device=uuid) == pytest.approx(0.02, rel=0.1)
        gain_j = metrics.value("energy_uncertainty_joules", device=uuid, part="gain")
        assert gain_j == pytest.approx(0.05 * energy_j, rel=0.01)
        assert metrics.value("meter_seconds", device=uuid, state="measured") > 0.5
        assert metrics.value("meter_seconds", device=uuid, state="unknown") == 0


def test_totals_follow_from_one_another(on_two_gpus: tuple[Scrape, RunSession]) -> None:
    metrics, run = on_two_gpus
    energy_j = metrics.value("run_energy_joules_total")
    assert energy_j == pytest.approx(sum(metrics.all("energy_joules_total")), rel=0.02)
    facility_j = metrics.value("facility_energy_joules_total")
    assert facility_j == pytest.approx(1.5 * energy_j)
    grams_per_kwh = metrics.value("intensity_gco2e_per_kwh", zone="GB")
    assert grams_per_kwh == run.factor.intensity.intensity_gco2e_per_kwh
    kgco2e = metrics.value("emissions_kgco2e_total")
    assert kgco2e == pytest.approx(facility_j / 3.6e6 * grams_per_kwh / 1000)
    assert metrics.value("cost_total", currency="EUR") == pytest.approx(0.2 * facility_j / 3.6e6)


def test_every_figure_has_a_method_and_an_uncertainty(
    on_two_gpus: tuple[Scrape, RunSession],
) -> None:
    metrics, run = on_two_gpus
    figures = {"run_energy_joules", "facility_energy_joules", "emissions_kgco2e", "cost"}
    for figure in (f"carbon_trainer_{name}_total" for name in figures):
        assert figure in metrics.samples
        assert len(metrics.all("figure_info", figure=figure)) == 1
        assert metrics.value("figure_uncertainty_ratio", figure=figure) >= 0.05
    assert len(metrics.samples["carbon_trainer_figure_info"]) == len(figures)
    emissions = "carbon_trainer_emissions_kgco2e_total"
    assert metrics.value("figure_info", figure=emissions, method="estimated") == 1
    assert (
        metrics.value("figure_uncertainty_ratio", figure=emissions)
        > run.factor.intensity.uncertainty
    )


def test_progress_and_the_run_itself_are_told(on_two_gpus: tuple[Scrape, RunSession]) -> None:
    metrics, run = on_two_gpus
    assert (metrics.value("steps_total"), metrics.value("tokens_total")) == (7, 3500)
    assert metrics.value("steps_planned") == 50
    assert (metrics.value("loss", split="train"), metrics.value("loss", split="validation")) == (
        2.5,
        2.75,
    )
    info = metrics.labels("run_info")
    assert (info["run"], info["name"], info["zone"]) == (run.run_id, "mine", "GB")
    assert (metrics.value("meter_ok"), metrics.value("scrape_ok")) == (1, 1)


def test_each_budget_tells_its_limit_what_is_used_and_what_is_left(
    on_two_gpus: tuple[Scrape, RunSession],
) -> None:
    metrics, _ = on_two_gpus
    budgets = ("energy", "kWh", 1), ("emissions", "kgCO2e", 2), ("cost", "EUR", 3)
    for budget, unit, limit in budgets:
        labels = {"budget": budget, "unit": unit}
        assert metrics.value("budget_limit", **labels) == limit
        used = metrics.value("budget_used", **labels)
        assert used > 0
        assert metrics.value("budget_remaining", **labels) == pytest.approx(limit - used)
        assert metrics.value("budget_used_ratio", **labels) == pytest.approx(used / limit)


def test_names_are_as_prometheus_wants_them(on_two_gpus: tuple[Scrape, RunSession]) -> None:
    metrics, _ = on_two_gpus
    for name in metrics.samples:
        assert name.startswith("carbon_trainer_")
        assert not name.endswith(("_mj", "_ms", "_mw", "_percent")), name
        assert "joules" in name or "energy" not in name, name


def test_a_resumed_run_counts_its_earlier_segments_with_their_method(
    tmp_path: Path, server: LiveServer
) -> None:
    first = _open(tmp_path, EnergyMeter([ConstantSource(1000)]))
    time.sleep(0.1)
    first.close()
    before_j = first.ledger.energy_mj(first.run_id) / 1000
    again = _open(
        tmp_path, EnergyMeter([ConstantSource(1)]), ResumePoint(first.run_id, "a.ckpt", 7)
    )
    server.watch(again)
    metrics = scrape(server.url)
    again.close()
    assert metrics.value("run_energy_joules_total") >= before_j > 50
    assert metrics.value("energy_joules_total") < before_j
    assert metrics.value("steps_total") == 7


@pytest.mark.slow
def test_a_lost_device_has_no_power_and_its_seconds_are_unknown(
    tmp_path: Path, server: LiveServer
) -> None:
    source = ConstantSource(100)
    run = _open(tmp_path, EnergyMeter([source]))
    server.watch(run)
    source.lose()
    deadline_s = time.monotonic() + 30
    while (metrics := scrape(server.url)).all("power_watts") or metrics.value("meter_ok"):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    assert metrics.value("meter_seconds", state="unknown") > 0
    run.close()


def test_a_counter_never_falls_though_an_extrapolation_may(tmp_path: Path) -> None:
    run = _open(tmp_path, EnergyMeter([ConstantSource(0)]))
    collector = RunCollector()
    collector.watch(run)
    told = []
    for before_mj in (5000, 3000, 9000):
        run.energy_before_mj = before_mj
        (family,) = [f for f in collector.collect() if f.name.endswith("run_energy_joules")]
        assert isinstance(family, CounterMetricFamily)
        told.append(family.samples[0].value)
    run.close()
    assert told == pytest.approx([5, 5, 9])


def test_a_figure_that_fails_is_said_and_breaks_neither_scrape_nor_run(
    tmp_path: Path, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _open(tmp_path, EnergyMeter([ConstantSource(100)]))
    server.watch(run)

    def fail(_: EnergyMeter) -> None:
        raise ArithmeticError("our own bug")

    monkeypatch.setattr(EnergyMeter, "powers_w", fail)
    metrics = scrape(server.url)
    assert metrics.value("scrape_ok") == 0
    assert list(metrics.samples) == ["carbon_trainer_scrape_ok"]
    run.close()


def test_it_listens_on_this_machine_only_and_no_longer_than_it_must() -> None:
    server = LiveServer(0)
    port = int(server.url.split(":")[2].split("/")[0])
    assert server._server.server_address == ("127.0.0.1", port)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), timeout=5)
    assert scrape(server.url).value("scrape_ok") == 1
    server.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        scrape(server.url)
    server.stop()


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port}: it is in use\. Choose another"):
            LiveServer(port)


def test_without_prometheus_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(InputError, match=r"pip install 'carbon-trainer\[prometheus\]'"):
        LiveServer(0)
