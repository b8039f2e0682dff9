"""`carbon-train grid` as its user sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from carbon_trainer.grid.csv import read_csv
from carbon_trainer.grid.providers import NAMES, gb_neso
from tests.cli.commands import Ended, Shell
from tests.grid.providers.test_providers import _gb
from tests.simulation.grid_server import Reply, serving

Train = Callable[..., Ended]


def test_providers_are_listed_with_what_they_need(carbon_train: Train) -> None:
    ended = carbon_train("grid", "list")
    assert ended.status == 0
    assert all(name in ended.out for name in NAMES)
    assert "ELECTRICITYMAPS_API_KEY" in ended.out
    assert "countries and US states" in ended.out


def test_a_zone_is_drawn_offline(carbon_train: Train) -> None:
    ended = carbon_train("grid", "show", "US-CA", "--start", "2026-06-01T00:00Z", "--hours", "24")
    assert ended.status == 0, ended.err
    assert ended.out.count("█") > 24
    assert "climatology" in ended.out


def test_what_is_fetched_can_be_planned_with(
    shell: Shell, carbon_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shell.folder / "cache"))
    with serving(Reply(_gb(*range(200, 248)))) as server:
        monkeypatch.setattr(gb_neso, "URL", server.url)
        out = shell.folder / "gb.csv"
        ended = carbon_train("grid", "fetch", "GB", "--provider", "gb-neso", "-o", str(out))
    assert ended.status == 0, ended.err
    assert "48 values" in ended.out
    assert read_csv(out).intensity_gco2e_per_kwh.tolist() == list(range(200, 248))
    planned = carbon_train("plan", "--trace", str(out), "--deadline", "20h", "--work-hours", "4")
    assert planned.status == 0, planned.err


@pytest.mark.slow
def test_an_outage_falls_back_and_says_so(
    shell: Shell, carbon_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shell.folder / "cache"))
    monkeypatch.setattr(gb_neso, "URL", "http://127.0.0.1:9")
    ended = carbon_train("grid", "show", "GB", "--provider", "gb-neso", "--hours", "3")
    assert ended.status == 0, ended.err
    assert "could not be reached" in ended.out
    assert "usual course is taken instead" in ended.out


@pytest.mark.slow
def test_the_last_forecast_serves_until_its_horizon_ends(
    shell: Shell, carbon_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shell.folder / "cache"))
    show = ["grid", "show", "GB", "--provider", "gb-neso", "--hours", "4", "--start"]
    with serving(Reply(_gb(*[211] * 6))) as server:
        monkeypatch.setattr(gb_neso, "URL", server.url)
        assert carbon_train(*show, "2026-06-01T12:00Z").status == 0
    ended = carbon_train(*show, "2026-06-01T13:00Z")
    assert ended.status == 0, ended.err
    assert "the forecast of 2026-06-01 12:00 UTC is used until its horizon ends" in ended.out
    assert "could not be reached" in ended.out
    assert ended.out.count("  211  ") >= 2
    assert "on the forecast's mean is taken" in ended.out
    later = carbon_train(*show, "2026-06-03T13:00Z")
    assert "usual course is taken instead" in later.out


def test_mistakes_are_one_sentence(carbon_train: Train) -> None:
    unknown = carbon_train("grid", "show", "DEE")
    assert unknown.status == 2
    assert "Did you mean" in unknown.err
    nobody = carbon_train("grid", "fetch", "GB", "--provider", "neso", "-o", "x.csv")
    assert nobody.status == 2
    assert "there is no provider 'neso'" in nobody.err
