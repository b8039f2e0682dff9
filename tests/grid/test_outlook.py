from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.errors import InputError
from carbon_trainer.grid.climatology import HOUR_NS, climatology, profile_of
from carbon_trainer.grid.outlook import DAY_NS, extend_forecast, outlook, past_days_mean
from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo
from carbon_trainer.grid.zones import ZoneFactors

INFO = SeriesInfo(
    zone="XX", provider="test", accounting="average lifecycle", source="test", licence="CC0"
)


def _hours(
    values: list[float], *, start_ns: int = 0, basis: Basis = Basis.OBSERVED
) -> IntensitySeries:
    codes = np.full(len(values), basis, np.uint8)
    return IntensitySeries(INFO, start_ns, HOUR_NS, np.array(values, float), codes)


def test_behind_the_horizon_the_usual_course_goes_on_at_the_forecasts_level() -> None:
    forecast = _hours([200, 240], basis=Basis.FORECAST)
    usual = _hours([100, 120, 300, 80], basis=Basis.CLIMATOLOGY)
    series = extend_forecast(forecast, 4 * HOUR_NS, climatology=usual)
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
    usual = _hours([9] * 8)
    series_by_kind = {"forecast": forecast, "past": past, "climatology": usual}
    assert outlook(0, HOUR_NS, **series_by_kind) is forecast
    old = outlook(3 * HOUR_NS, 5 * HOUR_NS, **series_by_kind)
    assert old is not None
    assert old.intensity_gco2e_per_kwh.tolist() == [7, 7]
    assert outlook(0, HOUR_NS, climatology=usual) is usual
    assert outlook(0, HOUR_NS) is None


@given(st.integers(1, 40), st.integers(1, 90), st.sampled_from(["climatology", "past", "neither"]))
def test_what_is_extended_covers_the_span(series_by_kind: int, until: int, fallback: str) -> None:
    forecast = _hours([100.0] * series_by_kind)
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
    usual = dataclasses.replace(_hours([50.0] * 10), info=marginal)
    with pytest.raises(InputError, match="cannot be mixed"):
        extend_forecast(_hours([100]), 4 * HOUR_NS, climatology=usual)


def test_past_days_are_the_newest_that_were_observed() -> None:
    past = _hours(list(range(240)), start_ns=0)
    series = past_days_mean(past, 12 * DAY_NS, 12 * DAY_NS + 2 * HOUR_NS)
    assert series.intensity_gco2e_per_kwh.tolist() == [144, 145]


def test_a_climatology_keeps_the_years_mean_and_the_days_course() -> None:
    mean = ZoneFactors().intensity("US-CA")
    year = climatology(mean, 0, 365 * DAY_NS)
    assert year.intensity_gco2e_per_kwh.mean() == pytest.approx(
        mean.intensity_gco2e_per_kwh, rel=0.01
    )
    june = climatology(mean, 152 * DAY_NS, 153 * DAY_NS).intensity_gco2e_per_kwh
    assert june[20] < 0.8 * june[5]  # noon and night in California
    assert year.bases() == [Basis.CLIMATOLOGY]
    assert "not a forecast" in year.info.notes[0]


def test_a_zone_without_open_data_is_flat_and_says_so() -> None:
    flat = climatology(ZoneFactors().intensity("DE"), 0, DAY_NS)
    assert np.ptp(flat.intensity_gco2e_per_kwh) == 0
    assert flat.bases() == [Basis.CONSTANT]
    assert "stands for every hour" in flat.info.notes[0]


def test_a_profile_is_the_mean_by_month_and_hour() -> None:
    ramp = _hours([*([100.0] * 12 + [300.0] * 12)] * 31)
    profile = profile_of(ramp)
    assert profile.shape == (12, 24)
    assert profile[0, 0] == pytest.approx(0.5)
    assert profile[0, 23] == pytest.approx(1.5)
    assert (profile[1:] == 1.0).all()
