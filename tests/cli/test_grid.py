"""`carbon-train grid` as its user sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from carbon_trainer.grid.csv import read_csv
from carbon_trainer.grid.providers import NAMES, gb_neso
from tests.cli.commands import CommandResult, Shell
from tests.grid.providers.answers import gb_answer
from tests.simulation.grid_server import Reply, serving

Train = Callable[..., CommandResult]


def test_providers_are_listed_with_their_requirements(carbon_train: Train) -> None:
    result = carbon_train("grid", "list")
    assert result.status == 0
    assert all(name in result.out for name in NAMES)
    assert "ELECTRICITYMAPS_API_KEY" in result.out
    assert "countries and US states" in result.out


def test_a_zone_is_plotted_offline(carbon_train: Train) -> None:
    result = carbon_train("grid", "show", "US-CA", "--start", "2026-06-01T00:00Z", "--hours", "24")
    assert result.status == 0, result.err
    assert result.out.count("█") > 24
    assert "climatology" in result.out


def test_fetched_data_can_be_used_by_plan(
    shell: Shell, carbon_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shell.folder / "cache"))
    with serving(Reply(gb_answer(*range(200, 248)))) as server:
        monkeypatch.setattr(gb_neso.GbNeso, "public_url", server.url)
        out = shell.folder / "gb.csv"
        result = carbon_train("grid", "fetch", "GB", "--provider", "gb-neso", "-o", str(out))
    assert result.status == 0, result.err
    assert "48 values" in result.out
    assert read_csv(out).intensity_gco2e_per_kwh.tolist() == list(range(200, 248))
    planned = carbon_train("plan", "--trace", str(out), "--deadline", "20h", "--work-hours", "4")
    assert planned.status == 0, planned.err


@pytest.mark.slow
def test_an_outage_falls_back_with_a_note(
    shell: Shell, carbon_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shell.folder / "cache"))
    monkeypatch.setattr(gb_neso.GbNeso, "public_url", "http://127.0.0.1:9")
    result = carbon_train("grid", "show", "GB", "--provider", "gb-neso", "--hours", "3")
    assert result.status == 0, result.err
    assert "could not be reached" in result.out
    assert "typical daily profile is used instead" in result.out


@pytest.mark.slow
def test_the_last_forecast_is_used_until_its_horizon_ends(
    shell: Shell, carbon_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shell.folder / "cache"))
    show = ["grid", "show", "GB", "--provider", "gb-neso", "--hours", "4", "--start"]
    with serving(Reply(gb_answer(*[211] * 6))) as server:
        monkeypatch.setattr(gb_neso.GbNeso, "public_url", server.url)
        assert carbon_train(*show, "2026-06-01T12:00Z").status == 0
    result = carbon_train(*show, "2026-06-01T13:00Z")
    assert result.status == 0, result.err
    assert "the forecast of 2026-06-01 12:00 UTC is used until its horizon ends" in result.out
    assert "could not be reached" in result.out
    assert result.out.count("  211  ") >= 2
    assert "on the forecast's mean is used" in result.out
    later = carbon_train(*show, "2026-06-03T13:00Z")
    assert "typical daily profile is used instead" in later.out


def test_bad_input_is_one_sentence(carbon_train: Train) -> None:
    unknown = carbon_train("grid", "show", "DEE")
    assert unknown.status == 2
    assert "Did you mean" in unknown.err
    nobody = carbon_train("grid", "fetch", "GB", "--provider", "neso", "-o", "x.csv")
    assert nobody.status == 2
    assert "there is no provider 'neso'" in nobody.err
