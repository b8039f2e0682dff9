"""Providers that tell generation by fuel, from which intensity is computed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers import provider
from carbon_trainer.grid.providers.base import Provider, ProviderError
from carbon_trainer.grid.providers.fuels import intensity
from carbon_trainer.grid.series import Basis
from tests.grid.providers.test_providers import QUICK
from tests.simulation.grid_server import Reply, Request, serving

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
TWO_HOURS = START + timedelta(hours=2)
KEYS = {"EIA_API_KEY": "secret-key", "ENTSOE_API_KEY": "secret-key"}


def _ask(name: str, url: str, tmp_path: Path) -> Provider:
    return provider(name, url=url, environ=KEYS, cache_dir=tmp_path, patience=QUICK)


def _eia(*rows: tuple[str, str, str | None], total: int | None = None) -> dict[str, Any]:
    data = [{"period": time, "fueltype": fuel, "value": value} for time, fuel, value in rows]
    return {"response": {"total": str(total or len(data)), "data": data}}


def test_a_mix_is_weighed_by_what_each_fuel_generates() -> None:
    assert intensity({"coal": 50, "wind": 50}) == (pytest.approx((820 + 11) / 2), 0.0)
    assert intensity({"coal": 90, "hydro": -30, "tidal": 10}) == (820, pytest.approx(0.1))
    assert intensity({"wind": 0}) is None


def test_eia_tells_strings_and_they_are_added_up(tmp_path: Path) -> None:
    rows = [
        ("2026-06-01T12", "COL", "100"), ("2026-06-01T12", "WND", "100"),
        ("2026-06-01T13", "NG", "50"), ("2026-06-01T13", "OTH", "50"),
        ("2026-06-01T13", "SUN", None),
    ]  # fmt: skip
    with serving(Reply(_eia(*rows))) as server:
        series = _ask("eia", server.url, tmp_path).history("CISO", START, TWO_HOURS)
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
        series = _ask("eia", server.url, tmp_path).history("CISO", START, TWO_HOURS)
    assert len(server.requests) == 2
    assert len(series) == 2


def _entsoe(psr: str, *quantities: float) -> str:
    points = "".join(
        f"<Point><position>{i}</position><quantity>{q}</quantity></Point>"
        for i, q in enumerate(quantities, start=1)
    )
    end = START + timedelta(hours=len(quantities))
    return (
        "<TimeSeries><inBiddingZone_Domain.mRID codingScheme='A01'>10YFR-RTE------C"
        "</inBiddingZone_Domain.mRID><curveType>A01</curveType>"
        f"<MktPSRType><psrType>{psr}</psrType></MktPSRType><Period><timeInterval>"
        f"<start>{START:%Y-%m-%dT%H:%MZ}</start><end>{end:%Y-%m-%dT%H:%MZ}</end></timeInterval>"
        f"<resolution>PT60M</resolution>{points}</Period></TimeSeries>"
    )


def _document(*series: str) -> Reply:
    body = "<?xml version='1.0'?><GL_MarketDocument>" + "".join(series) + "</GL_MarketDocument>"
    return Reply(body.encode(), headers={"Content-Type": "text/xml"})


def test_entsoe_tells_generation_per_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nuclear, gas = _entsoe("B14", 75, 50), _entsoe("B04", 25, 50)
    with serving(_document(nuclear, gas)) as server:
        monkeypatch.setattr("entsoe.entsoe.URL", server.url)
        series = _ask("entsoe", server.url, tmp_path).history("FR", START, TWO_HOURS)
    assert server.requests[0].query["documentType"] == "A75"
    assert series.intensity_gco2e_per_kwh.tolist() == pytest.approx(
        [0.75 * 12 + 0.25 * 490, 0.5 * 12 + 0.5 * 490]
    )


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (Reply(b"<text>Unauthorized</text>", status=401), InputError, "ENTSOE_API_KEY"),
        (Reply(b"", status=503), ProviderError, "entsoe"),
        (
            Reply(
                b"<Acknowledgement_MarketDocument><Reason><code>999</code><text>No matching data "
                b"found</text></Reason></Acknowledgement_MarketDocument>",
                headers={"Content-Type": "text/xml"},
            ),
            ProviderError,
            "has no generation of FR",
        ),
    ],
)
def test_entsoes_failures_are_one_sentence_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply, error: type[Exception], says: str
) -> None:
    with serving(reply) as server:
        monkeypatch.setattr("entsoe.entsoe.URL", server.url)
        entsoe = _ask("entsoe", server.url, tmp_path)
        with pytest.raises(error, match=says) as caught:
            entsoe.history("FR", START, TWO_HOURS)
    assert "secret" not in str(caught.value)


def test_an_unknown_zone_of_entsoe_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not know the zone 'XY'"):
        _ask("entsoe", "", tmp_path).history("XY", START, TWO_HOURS)


@pytest.mark.parametrize("name", ["eia", "entsoe"])
def test_without_a_key_or_a_forecast_it_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a key"):
        provider(name, environ={})
    with pytest.raises(InputError, match="has no forecasts: ask it for history"):
        _ask(name, "http://127.0.0.1:9", tmp_path).forecast("FR", START)
