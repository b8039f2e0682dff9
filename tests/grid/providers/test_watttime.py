from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from carbon_trainer.grid.providers.base import ProviderError
from tests.grid.providers.answers import NOW, ask, watt_answer
from tests.simulation.grid_server import Reply, Request, serving


def test_watttime_tells_pounds_and_they_become_grams(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return Reply({"token": "T1"} if request.path == "/login" else watt_answer(1000, 1000))

    with serving(Reply()) as server:
        server.answer_with(answer)
        series = ask("watttime", server, tmp_path).forecast("CAISO_NORTH", NOW)
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
        return Reply(watt_answer(900, 910))

    with serving(Reply()) as server:
        server.answer_with(answer)
        watttime = ask("watttime", server, tmp_path)
        watttime.forecast("CAISO_NORTH", NOW)
        assert len(watttime.history("CAISO_NORTH", NOW, NOW + timedelta(hours=1))) == 2
    assert [request.path for request in server.requests].count("/login") == 2


def test_an_index_is_no_intensity(tmp_path: Path) -> None:
    with serving(Reply({"token": "T", **watt_answer(40, units="percentile")})) as server:
        watttime = ask("watttime", server, tmp_path)
        with pytest.raises(ProviderError, match="answered in percentile"):
            watttime.forecast("CAISO_NORTH", NOW)
