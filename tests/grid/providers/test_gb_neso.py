from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from carbon_trainer.grid.series import Basis
from tests.grid.providers.answers import NOW, ask, gb_answer
from tests.simulation.grid_server import Reply, serving


def test_britain_is_asked_for_the_half_hour_that_contains_now(tmp_path: Path) -> None:
    with serving(Reply(gb_answer(200, 210, 190))) as server:
        series = ask("gb-neso", server, tmp_path).forecast("GB", NOW)
    assert server.requests[0].path == "/intensity/2026-06-01T12:00Z/fw48h"
    assert series.intensity_gco2e_per_kwh.tolist() == [200, 210, 190]
    assert series.info.accounting == "average direct"
    assert series.info.issued_at == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert series.bases() == [Basis.FORECAST]


def test_a_british_region_has_its_own_address_and_shape(tmp_path: Path) -> None:
    regional = {"data": {"regionid": 3, **gb_answer(200, 210)}}
    with serving(Reply(regional)) as server:
        series = ask("gb-neso", server, tmp_path).forecast("GB-3", NOW)
    assert server.requests[0].path == "/regional/intensity/2026-06-01T12:00Z/fw48h/regionid/3"
    assert len(series) == 2


def test_a_half_hour_that_is_not_metered_yet_is_marked_as_estimated(tmp_path: Path) -> None:
    with serving(Reply(gb_answer(200, None, actual=True))) as server:
        history = ask("gb-neso", server, tmp_path).history("GB", NOW, NOW + timedelta(hours=1))
    assert history.intensity_gco2e_per_kwh.tolist() == [200, 111]
    assert history.basis.tolist() == [Basis.OBSERVED, Basis.ESTIMATED]


def test_long_histories_are_asked_for_in_parts(tmp_path: Path) -> None:
    with serving(Reply(gb_answer(200, 210))) as server:
        ask("gb-neso", server, tmp_path).history("GB", NOW, NOW + timedelta(days=30))
    assert len(server.requests) == 3
