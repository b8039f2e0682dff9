from __future__ import annotations

import numpy as np
import pytest

from carbon_trainer.grid.climatology import HOUR_NS, climatology, profile_of
from carbon_trainer.grid.outlook import DAY_NS
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
