from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.grid.series import Basis
from tests.grid.providers.answers import ask
from tests.simulation.grid_server import Reply, Request, serving

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
TWO_HOURS = START + timedelta(hours=2)


def _eia(*rows: tuple[str, str, str | None], total: int | None = None) -> dict[str, Any]:
    data = [{"period": time, "fueltype": fuel, "value": value} for time, fuel, value in rows]
    return {"response": {"total": str(total or len(data)), "data": data}}


def test_eia_tells_strings_and_they_are_added_up(tmp_path: Path) -> None:
    rows = [
        ("2026-06-01T12", "COL", "100"), ("2026-06-01T12", "WND", "100"),
        ("2026-06-01T13", "NG", "50"), ("2026-06-01T13", "OTH", "50"),
        ("2026-06-01T13", "SUN", None),
    ]  # fmt: skip
    with serving(Reply(_eia(*rows))) as server:
        series = ask("eia", server, tmp_path).history("CISO", START, TWO_HOURS)
    assert series.intensity_gco2e_per_kwh.tolist() == pytest.approx([415.5, 490])
    assert series.bases() == [Basis.ESTIMATED]
    assert series.info.notes == ("25.0 % of generation is of unknown fuel and counts as the rest",)
    assert server.requests[0].query["facets[respondent][]"] == "CISO"


def test_eia_is_asked_for_all_its_pages(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        hour = 12 + int(request.query["offset"]) // 5000
        return Reply(_eia((f"2026-06-01T{hour}", "NG", "1"), total=10_000))

    with serving(Reply()) as server:
        server.answer_with(answer)
        series = ask("eia", server, tmp_path).history("CISO", START, TWO_HOURS)
    assert len(server.requests) == 2
    assert len(series) == 2
