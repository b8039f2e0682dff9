"""A training run is watched live, and never costs its training."""

from __future__ import annotations

import socket
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.errors import InputError
from tests.live.scrape import scrape
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("carbon_trainer.energy.sources.host.host_sources", lambda clock=None: [])


def _is_closed(url: str) -> bool:
    try:
        scrape(url)
    except urllib.error.URLError:
        return True
    return False


def test_training_on_a_simulated_gpu_is_watched_while_it_goes_on(tmp_path: Path) -> None:
    from carbon_trainer.callbacks import EmissionsTracking, EnergyBudget, PrometheusExporter
    from tests.callbacks.prometheus_helpers import ScrapeAt
    from tests.callbacks.training import TinyModule, loader, trainer

    exporter = PrometheusExporter(0)
    watch = ScrapeAt(exporter, 4)
    carbon = EmissionsTracking(zone="GB"), EnergyBudget(budget_kwh=1)
    with SimulatedNvml(SimulatedGpu(power=Constant(250))).install():
        trainer(tmp_path, *carbon, exporter, watch).fit(TinyModule(), loader())
    assert watch.seen is not None
    assert watch.seen.value("steps_total") in (3, 4)  # the run's step is counted in a hook beside
    assert watch.seen.value("budget_limit", budget="energy") == 1
    assert watch.seen.labels("run_info")["zone"] == "GB"
    assert watch.url.startswith("http://127.0.0.1:")
    assert exporter.url is None
    assert _is_closed(watch.url)


def test_it_stops_too_where_somebody_else_closes_the_run(tmp_path: Path) -> None:
    from carbon_trainer.callbacks import PrometheusExporter
    from tests.callbacks.prometheus_helpers import ScrapeAt
    from tests.callbacks.training import TinyModule, loader, session, trainer

    run = session(tmp_path)
    exporter = PrometheusExporter(0, session=run)
    watch = ScrapeAt(exporter, 2)
    trainer(tmp_path, exporter, watch).fit(TinyModule(), loader())
    assert not run.closed
    assert _is_closed(watch.url)
    run.close()


def test_it_stops_when_training_fails(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import Callback

    from carbon_trainer.callbacks import PrometheusExporter
    from tests.callbacks.prometheus_helpers import ScrapeAt
    from tests.callbacks.training import TinyModule, loader, trainer

    class Failing(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                raise ValueError("the user's own mistake")

    exporter = PrometheusExporter(0)
    watch = ScrapeAt(exporter, 2)
    with pytest.raises(ValueError, match="the user's own"):
        trainer(tmp_path, exporter, watch, Failing()).fit(TinyModule(), loader())
    assert _is_closed(watch.url)


def test_a_taken_port_costs_a_warning_and_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from carbon_trainer.callbacks import PrometheusExporter
    from tests.callbacks.training import TinyModule, loader, trainer

    module = TinyModule()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        trainer(tmp_path, PrometheusExporter(port)).fit(module, loader())
    assert len(module.losses) == 6
    (warning,) = [r.getMessage() for r in caplog.records if "live figures" in r.getMessage()]
    assert f"port {port}: it is in use" in warning
    assert warning.endswith("The run goes on without.")


def test_a_port_that_is_none_is_refused_at_once() -> None:
    from carbon_trainer.callbacks import PrometheusExporter

    with pytest.raises(InputError, match="prometheus_port is 99999"):
        PrometheusExporter(99999)
