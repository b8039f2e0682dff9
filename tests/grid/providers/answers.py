"""Answers in the shapes that providers send, and providers that ask a simulated server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from carbon_trainer.grid.providers import provider
from carbon_trainer.grid.providers.base import Provider
from carbon_trainer.grid.providers.http import Patience
from tests.simulation.grid_server import GridServer

NOW = datetime(2026, 6, 1, 12, 10, tzinfo=UTC)
KEYS = {
    "EIA_API_KEY": "secret-key",
    "ELECTRICITYMAPS_API_KEY": "secret-key",
    "ENTSOE_API_KEY": "secret-key",
    "WATTTIME_USER": "ann",
    "WATTTIME_PASSWORD": "secret-word",
}
QUICK = Patience(connect_s=0.5, read_s=0.5, retries=2, back_off_s=0.001, longest_s=0.01)


def ask(name: str, server: GridServer, tmp_path: Path, **options: Any) -> Provider:
    arguments = {"environ": KEYS, "patience": QUICK, "cache_dir": tmp_path, **options}
    return provider(name, url=server.url, **arguments)


def gb_answer(*values: int | None, actual: bool = False) -> dict[str, Any]:
    rows = []
    for index, value in enumerate(values):
        begin = datetime(2026, 6, 1, 12, tzinfo=UTC) + timedelta(minutes=30 * index)
        fields = {"forecast": 111, "actual": value} if actual else {"forecast": value}
        rows.append({
            "from": begin.strftime("%Y-%m-%dT%H:%MZ"),
            "to": (begin + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%MZ"),
            "intensity": {**fields, "index": "moderate"},
        })  # fmt: skip
    return {"data": rows}


def maps_answer(name: str, *values: float, **options: Any) -> dict[str, Any]:
    rows = [
        {"datetime": f"2026-06-01T{12 + hour}:00:00.000Z", "carbonIntensity": value, **options}
        for hour, value in enumerate(values)
    ]
    return {"zone": "DE", name: rows, "updatedAt": "2026-06-01T11:50:00.000Z"}


def watt_answer(*values: float, units: str = "lbs_co2_per_mwh") -> dict[str, Any]:
    rows = [
        {"point_time": f"2026-06-01T12:{5 * index:02}:00+00:00", "value": value}
        for index, value in enumerate(values)
    ]
    meta = {"region": "CAISO_NORTH", "units": units, "generated_at": "2026-06-01T12:00:00+00:00",
            "warnings": [{"message": "model is old"}]}  # fmt: skip
    return {"data": rows, "meta": meta}
