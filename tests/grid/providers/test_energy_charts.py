from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from carbon_trainer.grid.series import Basis
from tests.grid.providers.answers import NOW, ask
from tests.simulation.grid_server import Reply, serving


def test_energy_charts_merges_what_was_and_what_will_be(tmp_path: Path) -> None:
    first = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())
    body = {
        "unix_seconds": [first + 900 * index for index in range(5)],
        "co2eq": [300.0, 310.0, None, None, None],
        "co2eq_forecast": [None, None, None, 330.0, None],
        "deprecated": False,
    }
    with serving(Reply(body)) as server:
        series = ask("energy-charts", server, tmp_path).forecast("DE", NOW)
    assert server.requests[0].query == {"country": "de"}
    assert series.intensity_gco2e_per_kwh.tolist() == [300, 310, 320, 330]
    assert series.basis.tolist() == [
        Basis.OBSERVED, Basis.OBSERVED, Basis.INTERPOLATED, Basis.FORECAST,
    ]  # fmt: skip
    assert series.info.notes == ("1 missing values were interpolated",)
