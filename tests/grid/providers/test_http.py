"""Answers are cached, retried and refused in one way, whichever service is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers import provider
from carbon_trainer.grid.providers.base import ProviderError
from tests.grid.providers.answers import NOW, QUICK, ask, gb_answer, maps_answer
from tests.simulation.grid_server import Reply, serving


def test_an_answer_is_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    with serving(Reply(gb_answer(200, 210))) as server:
        ask("gb-neso", server, tmp_path).forecast("GB", NOW)
        cached = ask("gb-neso", server, tmp_path).forecast("GB", NOW)
    assert len(server.requests) == 1
    assert cached.info.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "outage",
    [
        Reply({}, status=503),
        Reply({}, status=429, headers={"Retry-After": "3600"}),
        Reply(gb_answer(1), delay_s=0.8),
        Reply(gb_answer(1), truncated=True),
    ],
)
def test_an_old_answer_is_used_in_an_outage_and_said_to_be_old(
    tmp_path: Path, outage: Reply
) -> None:
    with serving(Reply(gb_answer(200, 210))) as server:
        gb = ask("gb-neso", server, tmp_path)
        gb._web._session.settings.expire_after = 1e-6  # as a quarter of an hour later
        gb.forecast("GB", NOW)
        server.set_replies(outage)
        series = gb.forecast("GB", NOW)
    assert series.intensity_gco2e_per_kwh.tolist() == [200, 210]
    assert series.info.notes == ("gb-neso did not answer: its earlier answer is used",)


def test_what_passes_is_tried_again(tmp_path: Path) -> None:
    with serving(
        Reply({}, status=502), Reply({}, status=429), Reply(gb_answer(200, 210))
    ) as server:
        assert len(ask("gb-neso", server, tmp_path).forecast("GB", NOW)) == 2
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
        (Reply(maps_answer("forecast", *[None] * 3)), ProviderError, "has no values for DE"),  # type: ignore[arg-type]
        (
            Reply(maps_answer("forecast", 1, *[None] * 5, 2)),
            ProviderError,
            "for DE for 5.0 hours",
        ),  # type: ignore[arg-type]
    ],
)
def test_a_failure_is_one_sentence_without_the_key(
    tmp_path: Path, reply: Reply, error: type[Exception], says: str
) -> None:
    with serving(reply) as server, pytest.raises(error, match=says) as caught:
        ask("electricity-maps", server, tmp_path).forecast("DE", NOW)
    assert "secret" not in str(caught.value)


def test_keys_are_not_kept_on_disk(tmp_path: Path) -> None:
    with serving(Reply(maps_answer("forecast", 326))) as server:
        ask("electricity-maps", server, tmp_path).forecast("DE", NOW)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"secret-key" in path.read_bytes() for path in files)


def test_a_service_that_is_not_there_is_said(tmp_path: Path) -> None:
    missing = provider("gb-neso", url="http://127.0.0.1:9", patience=QUICK, cache_dir=tmp_path)
    with pytest.raises(ProviderError, match="gb-neso could not be reached"):
        missing.forecast("GB", NOW)
