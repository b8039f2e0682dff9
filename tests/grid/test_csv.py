from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.grid.csv import read_csv, read_forecasts, read_prices
from carbon_trainer.grid.series import Basis

File = Callable[..., Path]


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(*rows: str, heading: str = "time_utc,gco2e_per_kwh") -> Path:
        path = tmp_path / "XX.csv"
        path.write_text("\n".join([heading, *rows]) + "\n")
        return path

    return write


def _hours(*values: object) -> list[str]:
    return [f"2026-03-29T{hour:02}:00:00Z,{value}" for hour, value in enumerate(values)]


def test_a_trace_is_read_with_its_step(file: File) -> None:
    series = read_csv(file("# from a grid", *_hours(100, 200, 300)))
    assert series.intensity_gco2e_per_kwh.tolist() == [100, 200, 300]
    assert series.step_ns == 3600 * 10**9
    assert series.time(0).isoformat() == "2026-03-29T00:00:00+00:00"
    assert series.info.zone == "XX"


def test_local_times_over_a_change_of_clocks_become_utc(file: File) -> None:
    rows = [
        "2026-03-29T01:00+01:00,1e2",
        "2026-03-29T03:00+02:00,110",
        "2026-03-29T04:00+02:00,9e1",
    ]
    series = read_csv(file(*rows, heading="timestamp,intensity"))
    assert series.time(2).isoformat() == "2026-03-29T02:00:00+00:00"


def test_repairs_are_noted(file: File) -> None:
    rows = _hours(100, 200, "", 400, 500)
    series = read_csv(file(rows[1], rows[0], *rows[2:], rows[4]))
    assert series.intensity_gco2e_per_kwh.tolist() == [100, 200, 300, 400, 500]
    assert series.basis[2] == Basis.INTERPOLATED
    assert series.info.notes == (
        "its rows were not in order of time and were sorted",
        "1 duplicate rows were dropped",
        "1 missing values were interpolated",
    )


def test_units_are_converted_as_the_heading_or_the_caller_says(file: File) -> None:
    pounds = read_csv(file(*_hours(1000, 1000), heading="time_utc,lbs_per_mwh"))
    assert pounds.intensity_gco2e_per_kwh[0] == pytest.approx(453.59237)
    kilos = read_csv(file(*_hours(0.25, 0.3)), unit="kg/kWh")
    assert kilos.intensity_gco2e_per_kwh[0] == 250


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (_hours(100, -5), "line 3: invalid value -5"),
        (_hours(100, "coal"), "line 3: invalid value coal"),
        (_hours(100, "inf"), "line 3: invalid value inf"),
        (_hours(100), "has 1 rows"),
        ([*_hours(100, 200), "2026-03-29T01:00:00Z,201"], "two different values"),
        ([*_hours(100, 200), "2026-03-29T02:20:00Z,201"], "does not fit the step of 60 minutes"),
        ([*_hours(100, 200), "2026-03-29T09:00:00Z,201"], "no values for 7.0 hours from"),
        ([*_hours(100, 200), "soon,201"], "'soon' is not a time"),
        (_hours(1900, 2000), "if it is in lb/MWh say so"),
        (_hours(0.3, 0.4), "if it is in kg/kWh say so"),
        ([*_hours(100), "2026-03-29T01:00:00Z,"], "ends with an empty value"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(file: File, rows: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_csv(file(*rows))


def test_a_time_without_a_zone_is_refused_unless_its_column_says_utc(file: File) -> None:
    rows = ["2026-03-29T00:00,100", "2026-03-29T01:00,100"]
    assert len(read_csv(file(*rows))) == 2
    with pytest.raises(InputError, match=r"line 2: the time '2026-03-29T00:00' has no time zone"):
        read_csv(file(*rows, heading="timestamp,intensity"))


def test_unknown_columns_and_missing_files_are_named(file: File, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column of values: name one gco2e_per_kwh; it has"):
        read_csv(file(*_hours(1, 2), heading="time_utc,co2"))
    with pytest.raises(InputError, match="there is no file"):
        read_csv(tmp_path / "none.csv")


def test_recorded_forecasts_are_series_from_their_issue_on(file: File) -> None:
    path = file(
        "2026-03-29T00:00:00Z,1,2", "2026-03-30T00:00:00Z,3,4", heading="issued_utc,h00,h01"
    )
    first, second = read_forecasts(path)
    assert first.info.issued_at == first.time(0)
    assert second.intensity_gco2e_per_kwh.tolist() == [3, 4]
    assert second.bases() == [Basis.FORECAST]


def test_prices_are_read_without_an_opinion_of_their_size(file: File) -> None:
    prices = read_prices(file(*_hours(0.1, 0.3), heading="time_utc,price_per_kwh"))
    assert prices.intensity_gco2e_per_kwh.tolist() == [0.1, 0.3]
