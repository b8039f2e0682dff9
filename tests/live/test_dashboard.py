"""The Grafana dashboard in docs/ shows what a run really exports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.live.server import LiveServer
from carbon_trainer.runs.session import RunSession
from tests.live.scrape import Scrape, scrape
from tests.simulation.source import ConstantSource

PATH = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """All that a run with budgets, a price and losses exports."""
    config = RunConfig(
        runs_dir=tmp_path_factory.mktemp("runs"), zone="GB", budget_kwh=1, budget_kgco2e=1,
        budget_cost=1, price_per_kwh=1, max_steps=9,
    )  # fmt: skip
    run = RunSession.open(config, meter=EnergyMeter([ConstantSource(100)]))
    with LiveServer(0) as server:
        server.watch(run)
        run.progress(1, 64, loss=2.5, validation=2.0)
        while not (exported := scrape(server.url)).all("figure_uncertainty_ratio"):
            pass
        run.close()
    return exported


def _metrics(expression: str) -> set[str]:
    return set(re.findall(r"\bcarbon_trainer_\w+", expression))


def test_it_has_what_grafana_needs_to_import_it() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert {"title", "uid", "panels", "templating", "time", "refresh"} <= set(DASHBOARD)
    assert DASHBOARD["id"] is None
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert {"type", "title", "gridPos", "fieldConfig", "targets"} <= set(panel)
        assert panel["targets"], panel["title"]


def test_it_asks_the_data_source_and_the_run_that_are_chosen() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert "run_info" in variables["run"]["query"]["query"]
    for panel in PANELS:
        sources = [panel, *panel["targets"]]
        assert {source["datasource"]["uid"] for source in sources} == {"${datasource}"}


def test_every_metric_and_label_it_asks_for_is_exported(exported: Scrape) -> None:
    for expression in EXPRESSIONS:
        for name, labels in re.findall(r"\b(carbon_trainer_\w+)(?:\{([^}]*)\})?", expression):
            assert name in exported.samples, (name, expression)
            exported_labels = set(exported.samples[name][0][0])
            assert set(re.findall(r"(\w+)\s*[=!]", labels)) <= exported_labels, expression
    query = DASHBOARD["templating"]["list"][1]["query"]["query"]
    assert _metrics(query) <= set(exported.samples)


def test_every_legend_names_labels_that_there_are(exported: Scrape) -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            first = re.search(r"carbon_trainer_\w+", target["expr"])
            assert first is not None
            labels = set(exported.samples[first.group()][0][0])
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, panel["title"]


def test_it_shows_all_that_a_run_is_watched_for() -> None:
    shown = set().union(*map(_metrics, EXPRESSIONS))
    for name in (
        "power_watts", "energy_joules_total", "emissions_kgco2e_total", "budget_remaining",
        "tokens_total", "steps_total", "meter_seconds", "meter_ok", "figure_info", "loss",
    ):  # fmt: skip
        assert f"carbon_trainer_{name}" in shown, name


def test_every_panel_has_a_unit_and_a_place_of_its_own() -> None:
    occupied: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & occupied, panel["title"]
        occupied |= cells


def test_every_metric_that_the_documentation_names_is_exported(exported: Scrape) -> None:
    page = (PATH.parent / "prometheus.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    names = {re.sub(r"\{.*", "", name) for row in rows for name in re.findall(r"`(\w[^`]*)`", row)}
    assert {f"carbon_trainer_{name}" for name in names} == set(exported.samples)
