from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.errors import InputError
from carbon_trainer.grid.series import (
    Basis,
    IntensitySeries,
    SeriesInfo,
    iso,
    same_accounting,
)

INFO = SeriesInfo(
    zone="XX", provider="test", accounting="average direct", source="test", licence="CC0"
)
HOUR = 3600 * 10**9


def _series(*values: float, start_ns: int = 0, info: SeriesInfo = INFO) -> IntensitySeries:
    basis = np.full(len(values), Basis.FORECAST, np.uint8)
    return IntensitySeries(info, start_ns, HOUR, np.array(values, float), basis)


@given(
    values=st.lists(st.floats(0, 1000), min_size=2, max_size=20),
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=6),
)
def test_means_over_parts_add_up_to_the_whole(values: list[float], cuts: list[float]) -> None:
    series = _series(*values)
    edges = np.unique([0, *(round(cut * series.end_ns) for cut in cuts), series.end_ns]).tolist()
    parts = [series.mean(a, b) * (b - a) for a, b in pairwise(edges)]
    whole = series.mean(0, series.end_ns) * series.end_ns
    assert sum(parts) == pytest.approx(whole, rel=1e-9, abs=1e-3)


def test_a_mean_over_no_time_is_the_value_that_holds_then() -> None:
    series = _series(100, 200)
    assert [series.mean(ns, ns) for ns in (0, HOUR - 1, HOUR, 2 * HOUR)] == [100, 100, 200, 200]


def test_each_value_holds_from_its_start() -> None:
    series = _series(100, 200)
    assert series.at(np.array([0, HOUR - 1, HOUR])).tolist() == [100, 100, 200]
    assert series.covers(0, 2 * HOUR)
    assert not series.covers(0, 2 * HOUR + 1)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_value_that_cannot_be_is_refused_with_its_time(wrong: float) -> None:
    with pytest.raises(InputError, match=r"at 1970-01-01T01:00:00\+00:00"):
        _series(100, wrong)


def test_kinds_are_never_mixed() -> None:
    marginal = dataclasses.replace(INFO, accounting="marginal direct", provider="other")
    with pytest.raises(InputError, match=r"test \(average direct\) with other \(marginal direct\)"):
        same_accounting(_series(1), _series(1, info=marginal))
    with pytest.raises(InputError, match="cannot be mixed"):
        _series(1).extend(_series(2, info=marginal))


def test_what_follows_keeps_its_basis_and_is_noted() -> None:
    later = IntensitySeries.constant(INFO, 50.0, 0, 4 * HOUR)
    series = _series(100, 200).extend(later, "its mean holds after the forecast's horizon")
    assert series.intensity_gco2e_per_kwh.tolist() == [100, 200, 50, 50]
    assert series.bases() == [Basis.FORECAST, Basis.CONSTANT]
    assert series.info.notes == ("its mean holds after the forecast's horizon",)


def test_a_span_outside_says_what_there_is() -> None:
    with pytest.raises(InputError, match="runs from 1970-01-01T00:00:00Z to"):
        _series(1).between(5 * HOUR, 6 * HOUR)


def test_times_are_written_in_utc() -> None:
    assert iso(1_500_000_000) == "1970-01-01T00:00:01.500Z"
    assert str(_series(1, 2).index[1]) == "1970-01-01 01:00:00+00:00"
