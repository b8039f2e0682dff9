"""Providers are found by name, and say what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers import NAMES, infos, provider
from tests.grid.providers.answers import KEYS, NOW


def test_mistyped_names_and_zones_and_missing_keys_are_errors() -> None:
    assert [info.name for info in infos()] == list(NAMES)
    with pytest.raises(InputError, match="Did you mean gb-neso"):
        provider("gb-nesso")
    with pytest.raises(InputError, match="set ELECTRICITYMAPS_API_KEY"):
        provider("electricity-maps", environ={})
    with pytest.raises(InputError, match="WATTTIME_USER and WATTTIME_PASSWORD"):
        provider("watttime", environ={"WATTTIME_USER": "ann"})
    with pytest.raises(InputError, match="gb-neso has no zone 'GB-18'"):
        provider("gb-neso").forecast("GB-18", NOW)


@pytest.mark.parametrize("name", ["eia", "entsoe"])
def test_a_provider_without_a_key_or_a_forecast_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a key"):
        provider(name, environ={})
    with pytest.raises(InputError, match="has no forecasts: ask it for history"):
        provider(name, environ=KEYS, cache_dir=tmp_path).forecast("FR", NOW)
