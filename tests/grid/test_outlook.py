from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.errors import InputError
from carbon_trainer.grid.climatology import HOUR_NS
from carbon_trainer.grid.outlook import DAY_NS, extend_forecast, outlook, past_days_mean
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo

INFO = SeriesInfo(
    zone="XX", provider="test", accounting="average lifecycle", source="test", licence="CC0"
)


def _hours(
    values: list[float], *, start_ns: int = 0, basis: Basis = Basis.OBSERVED
) -> IntensitySeries:
    codes = np.full(len(values), basis, np.uint8)
    return IntensitySeries(INFO, start_ns, HOUR_NS, np.array(values, float), codes)


def test_beyond_the_horizon_the_daily_profile_continues_at_the_forecasts_level() -> None:
    forecast = _hours([200, 240], basis=Basis.FORECAST)
    typical = _hours([100, 120, 300, 80], basis=Basis.CLIMATOLOGY)
    series = extend_forecast(forecast, 4 * HOUR_NS, climatology=typical)
    assert series.intensity_gco2e_per_kwh.tolist() == [200, 240, 600, 160]
    assert series.basis.tolist() == [Basis.FORECAST] * 2 + [Basis.CLIMATOLOGY] * 2
    assert series.info.notes == (
        "from 1970-01-01T02:00:00Z on the zone's typical daily profile is used, times 2.00",
    )


def test_without_it_the_same_hours_of_past_days_do() -> None:
    past = _hours([*range(24), *range(100, 124)], start_ns=-2 * DAY_NS)
    series = extend_forecast(_hours([5]), 3 * HOUR_NS, past=past)
    assert series.intensity_gco2e_per_kwh.tolist() == [5, 51, 52]
    assert Basis.PAST_DAYS in series.bases()


def test_with_nothing_else_the_mean_holds() -> None:
    series = extend_forecast(_hours([100, 200]), 4 * HOUR_NS)
    assert series.intensity_gco2e_per_kwh.tolist() == [100, 200, 150, 150]
    assert series.info.notes == ("from 1970-01-01T02:00:00Z on the forecast's mean is used",)


def test_an_outlook_takes_the_best_that_there_is() -> None:
    forecast, past = _hours([1, 2]), _hours([7.0] * 48, start_ns=-2 * DAY_NS)
    typical = _hours([9] * 8)
    series_by_kind = {"forecast": forecast, "past": past, "climatology": typical}
    assert outlook(0, HOUR_NS, **series_by_kind) is forecast
    old = outlook(3 * HOUR_NS, 5 * HOUR_NS, **series_by_kind)
    assert old is not None
    assert old.intensity_gco2e_per_kwh.tolist() == [7, 7]
    assert outlook(0, HOUR_NS, climatology=typical) is typical
    assert outlook(0, HOUR_NS) is None


@given(st.integers(1, 40), st.integers(1, 90), st.sampled_from(["climatology", "past", "neither"]))
def test_what_is_extended_covers_the_span(count: int, until: int, fallback: str) -> None:
    forecast = _hours([100.0] * count)
    more = {
        "climatology": {"climatology": _hours([50.0] * 100)},
        "past": {"past": _hours([70.0] * 72, start_ns=-3 * DAY_NS)},
        "neither": {},
    }[fallback]
    series = extend_forecast(forecast, until * HOUR_NS, **more)
    assert series.covers(0, until * HOUR_NS)
    assert (series.intensity_gco2e_per_kwh >= 0).all()


def test_kinds_are_not_mixed_behind_the_horizon() -> None:
    marginal = dataclasses.replace(INFO, accounting="marginal direct")
    typical = dataclasses.replace(_hours([50.0] * 10), info=marginal)
    with pytest.raises(InputError, match="cannot be mixed"):
        extend_forecast(_hours([100]), 4 * HOUR_NS, climatology=typical)


def test_past_days_are_the_newest_that_were_observed() -> None:
    past = _hours(list(range(240)), start_ns=0)
    series = past_days_mean(past, 12 * DAY_NS, 12 * DAY_NS + 2 * HOUR_NS)
    assert series.intensity_gco2e_per_kwh.tolist() == [144, 145]
