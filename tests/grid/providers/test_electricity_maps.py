from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from carbon_trainer.grid.series import Basis
from tests.grid.providers.answers import NOW, ask, maps_answer
from tests.simulation.grid_server import Reply, serving


def test_electricity_maps_is_asked_with_the_key(tmp_path: Path) -> None:
    with serving(Reply(maps_answer("forecast", 326, 330.5))) as server:
        series = ask("electricity-maps", server, tmp_path).forecast("DE", NOW)
    assert server.requests[0].headers["auth-token"] == "secret-key"
    assert series.intensity_gco2e_per_kwh.tolist() == [326, 330.5]
    assert series.info.issued_at == datetime(2026, 6, 1, 11, 50, tzinfo=UTC)


def test_what_electricity_maps_estimated_is_marked(tmp_path: Path) -> None:
    with serving(Reply(maps_answer("data", 300, 310, isEstimated=True))) as server:
        maps = ask("electricity-maps", server, tmp_path)
        series = maps.history("DE", NOW, NOW + timedelta(hours=2))
    assert series.bases() == [Basis.ESTIMATED]
