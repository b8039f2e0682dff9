"""Providers, asked over real HTTP on this machine, in the shapes that they answer in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers import NAMES, infos, provider
from carbon_trainer.grid.providers.base import Provider, ProviderError
from carbon_trainer.grid.providers.http import Patience
from carbon_trainer.grid.series import Basis
from tests.simulation.grid_server import GridServer, Reply, Request, serving

NOW = datetime(2026, 6, 1, 12, 10, tzinfo=UTC)
KEYS = {
    "ELECTRICITYMAPS_API_KEY": "secret-key",
    "WATTTIME_USER": "ann",
    "WATTTIME_PASSWORD": "secret-word",
}
QUICK = Patience(connect_s=0.5, read_s=0.5, retries=2, back_off_s=0.001, longest_s=0.01)


def _ask(name: str, server: GridServer, tmp_path: Path, **options: Any) -> Provider:
    arguments = {"environ": KEYS, "patience": QUICK, "cache_dir": tmp_path, **options}
    return provider(name, url=server.url, **arguments)


def _gb(*values: int | None, actual: bool = False) -> dict[str, Any]:
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


def _maps(name: str, *values: float, **options: Any) -> dict[str, Any]:
    rows = [
        {"datetime": f"2026-06-01T{12 + hour}:00:00.000Z", "carbonIntensity": value, **options}
        for hour, value in enumerate(values)
    ]
    return {"zone": "DE", name: rows, "updatedAt": "2026-06-01T11:50:00.000Z"}


def _watt(*values: float, units: str = "lbs_co2_per_mwh") -> dict[str, Any]:
    rows = [
        {"point_time": f"2026-06-01T12:{5 * index:02}:00+00:00", "value": value}
        for index, value in enumerate(values)
    ]
    meta = {"region": "CAISO_NORTH", "units": units, "generated_at": "2026-06-01T12:00:00+00:00",
            "warnings": [{"message": "model is old"}]}  # fmt: skip
    return {"data": rows, "meta": meta}


def test_britain_is_asked_for_the_half_hour_that_contains_now(tmp_path: Path) -> None:
    with serving(Reply(_gb(200, 210, 190))) as server:
        series = _ask("gb-neso", server, tmp_path).forecast("GB", NOW)
    assert server.requests[0].path == "/intensity/2026-06-01T12:00Z/fw48h"
    assert series.intensity_gco2e_per_kwh.tolist() == [200, 210, 190]
    assert series.info.accounting == "average direct"
    assert series.info.issued_at == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert series.bases() == [Basis.FORECAST]


def test_a_british_region_has_its_own_address_and_shape(tmp_path: Path) -> None:
    regional = {"data": {"regionid": 3, **_gb(200, 210)}}
    with serving(Reply(regional)) as server:
        series = _ask("gb-neso", server, tmp_path).forecast("GB-3", NOW)
    assert server.requests[0].path == "/regional/intensity/2026-06-01T12:00Z/fw48h/regionid/3"
    assert len(series) == 2


def test_a_half_hour_that_is_not_metered_yet_is_marked_as_estimated(tmp_path: Path) -> None:
    with serving(Reply(_gb(200, None, actual=True))) as server:
        history = _ask("gb-neso", server, tmp_path).history("GB", NOW, NOW + timedelta(hours=1))
    assert history.intensity_gco2e_per_kwh.tolist() == [200, 111]
    assert history.basis.tolist() == [Basis.OBSERVED, Basis.ESTIMATED]


def test_long_histories_are_asked_for_in_parts(tmp_path: Path) -> None:
    with serving(Reply(_gb(200, 210))) as server:
        _ask("gb-neso", server, tmp_path).history("GB", NOW, NOW + timedelta(days=30))
    assert len(server.requests) == 3


def test_energy_charts_merges_what_was_and_what_will_be(tmp_path: Path) -> None:
    first = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())
    body = {
        "unix_seconds": [first + 900 * index for index in range(5)],
        "co2eq": [300.0, 310.0, None, None, None],
        "co2eq_forecast": [None, None, None, 330.0, None],
        "deprecated": False,
    }
    with serving(Reply(body)) as server:
        series = _ask("energy-charts", server, tmp_path).forecast("DE", NOW)
    assert server.requests[0].query == {"country": "de"}
    assert series.intensity_gco2e_per_kwh.tolist() == [300, 310, 320, 330]
    assert series.basis.tolist() == [
        Basis.OBSERVED, Basis.OBSERVED, Basis.INTERPOLATED, Basis.FORECAST,
    ]  # fmt: skip
    assert series.info.notes == ("1 missing values were interpolated",)


def test_electricity_maps_is_asked_with_the_key(tmp_path: Path) -> None:
    with serving(Reply(_maps("forecast", 326, 330.5))) as server:
        series = _ask("electricity-maps", server, tmp_path).forecast("DE", NOW)
    assert server.requests[0].headers["auth-token"] == "secret-key"
    assert series.intensity_gco2e_per_kwh.tolist() == [326, 330.5]
    assert series.info.issued_at == datetime(2026, 6, 1, 11, 50, tzinfo=UTC)


def test_what_electricity_maps_estimated_is_marked(tmp_path: Path) -> None:
    with serving(Reply(_maps("data", 300, 310, isEstimated=True))) as server:
        maps = _ask("electricity-maps", server, tmp_path)
        series = maps.history("DE", NOW, NOW + timedelta(hours=2))
    assert series.bases() == [Basis.ESTIMATED]


def test_watttime_tells_pounds_and_they_become_grams(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return Reply({"token": "T1"} if request.path == "/login" else _watt(1000, 1000))

    with serving(Reply()) as server:
        server.answer_with(answer)
        series = _ask("watttime", server, tmp_path).forecast("CAISO_NORTH", NOW)
    assert series.intensity_gco2e_per_kwh[0] == pytest.approx(453.59237)
    assert series.info.accounting == "marginal direct"
    assert series.info.notes == ("watttime warns: model is old",)


def test_watttime_logs_in_again_when_its_token_has_expired(tmp_path: Path) -> None:
    tokens = iter(["old", "new"])

    def answer(request: Request) -> Reply:
        if request.path == "/login":
            return Reply({"token": next(tokens)})
        if request.headers["Authorization"] == "Bearer old" and request.path == "/v3/historical":
            return Reply({}, status=401)
        return Reply(_watt(900, 910))

    with serving(Reply()) as server:
        server.answer_with(answer)
        watttime = _ask("watttime", server, tmp_path)
        watttime.forecast("CAISO_NORTH", NOW)
        assert len(watttime.history("CAISO_NORTH", NOW, NOW + timedelta(hours=1))) == 2
    assert [request.path for request in server.requests].count("/login") == 2


def test_an_index_is_no_intensity(tmp_path: Path) -> None:
    with serving(Reply({"token": "T", **_watt(40, units="percentile")})) as server:
        watttime = _ask("watttime", server, tmp_path)
        with pytest.raises(ProviderError, match="answered in percentile"):
            watttime.forecast("CAISO_NORTH", NOW)


def test_an_answer_is_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    with serving(Reply(_gb(200, 210))) as server:
        _ask("gb-neso", server, tmp_path).forecast("GB", NOW)
        cached = _ask("gb-neso", server, tmp_path).forecast("GB", NOW)
    assert len(server.requests) == 1
    assert cached.info.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "outage",
    [
        Reply({}, status=503),
        Reply({}, status=429, headers={"Retry-After": "3600"}),
        Reply(_gb(1), delay_s=0.8),
        Reply(_gb(1), truncated=True),
    ],
)
def test_an_old_answer_is_used_in_an_outage_and_said_to_be_old(
    tmp_path: Path, outage: Reply
) -> None:
    with serving(Reply(_gb(200, 210))) as server:
        gb = _ask("gb-neso", server, tmp_path)
        gb._web._session.settings.expire_after = 1e-6  # as a quarter of an hour later
        gb.forecast("GB", NOW)
        server.set_replies(outage)
        series = gb.forecast("GB", NOW)
    assert series.intensity_gco2e_per_kwh.tolist() == [200, 210]
    assert series.info.notes == ("gb-neso did not answer: its earlier answer is used",)


def test_what_passes_is_tried_again(tmp_path: Path) -> None:
    with serving(Reply({}, status=502), Reply({}, status=429), Reply(_gb(200, 210))) as server:
        assert len(_ask("gb-neso", server, tmp_path).forecast("GB", NOW)) == 2
    assert len(server.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (Reply({}, status=401), InputError, "set ELECTRICITYMAPS_API_KEY to a valid one"),
        (Reply({}, status=403), InputError, "your plan does not include this"),
        (Reply({}, status=404), InputError, "check the zone"),
        (Reply({}, status=429), ProviderError, "429|kept answering with errors"),
        (Reply({}, status=500), ProviderError, "there is no earlier answer"),
        (Reply({}, delay_s=0.8), ProviderError, "did not answer in time"),
        (Reply(b'{"zone": "DE", "fore'), ProviderError, "incomplete or invalid JSON"),
        (Reply({"status": "no-data"}), ProviderError, "gave no data for that zone"),
        (Reply([1, 2]), ProviderError, "gave no data for that zone"),
        (Reply(_maps("forecast", *[None] * 3)), ProviderError, "has no values for DE"),  # type: ignore[arg-type]
        (
            Reply(_maps("forecast", 1, *[None] * 5, 2)),
            ProviderError,
            "for DE for 5.0 hours",
        ),  # type: ignore[arg-type]
    ],
)
def test_a_failure_is_one_sentence_without_the_key(
    tmp_path: Path, reply: Reply, error: type[Exception], says: str
) -> None:
    with serving(reply) as server, pytest.raises(error, match=says) as caught:
        _ask("electricity-maps", server, tmp_path).forecast("DE", NOW)
    assert "secret" not in str(caught.value)


def test_keys_are_not_kept_on_disk(tmp_path: Path) -> None:
    with serving(Reply(_maps("forecast", 326))) as server:
        _ask("electricity-maps", server, tmp_path).forecast("DE", NOW)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"secret-key" in path.read_bytes() for path in files)


def test_a_service_that_is_not_there_is_said(tmp_path: Path) -> None:
    missing = provider("gb-neso", url="http://127.0.0.1:9", patience=QUICK, cache_dir=tmp_path)
    with pytest.raises(ProviderError, match="gb-neso could not be reached"):
        missing.forecast("GB", NOW)


def test_names_zones_and_missing_keys_are_told() -> None:
    assert [info.name for info in infos()] == list(NAMES)
    with pytest.raises(InputError, match="Did you mean gb-neso"):
        provider("gb-nesso")
    with pytest.raises(InputError, match="set ELECTRICITYMAPS_API_KEY"):
        provider("electricity-maps", environ={})
    with pytest.raises(InputError, match="WATTTIME_USER and WATTTIME_PASSWORD"):
        provider("watttime", environ={"WATTTIME_USER": "ann"})
    with pytest.raises(InputError, match="gb-neso has no zone 'GB-18'"):
        provider("gb-neso").forecast("GB-18", NOW)
