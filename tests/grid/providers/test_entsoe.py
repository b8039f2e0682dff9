from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers import provider
from carbon_trainer.grid.providers.base import ProviderError
from tests.grid.providers.answers import KEYS, ask
from tests.simulation.grid_server import Reply, serving

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
TWO_HOURS = START + timedelta(hours=2)


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
        series = ask("entsoe", server, tmp_path).history("FR", START, TWO_HOURS)
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
        entsoe = ask("entsoe", server, tmp_path)
        with pytest.raises(error, match=says) as caught:
            entsoe.history("FR", START, TWO_HOURS)
    assert "secret" not in str(caught.value)


def test_an_unknown_zone_of_entsoe_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not know the zone 'XY'"):
        provider("entsoe", environ=KEYS, cache_dir=tmp_path).history("XY", START, TWO_HOURS)
