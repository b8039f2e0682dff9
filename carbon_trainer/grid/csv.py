"""Carbon intensity from CSV files: a mistake is an error with its line, or repaired and noted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.errors import InputError
from carbon_trainer.grid.intensity import Accounting
from carbon_trainer.grid.series import GRAMS_PER_POUND, Basis, IntensitySeries, SeriesInfo, iso

UNITS = {
    "g/kWh": 1.0,
    "kg/MWh": 1.0,
    "kg/kWh": 1000.0,
    "lb/MWh": GRAMS_PER_POUND / 1000,
}
"""Grams per kilowatt hour in one of each."""

HEADINGS = {
    "gco2e_per_kwh": "g/kWh", "gco2_per_kwh": "g/kWh", "intensity_gco2e_per_kwh": "g/kWh",
    "carbon_intensity": "g/kWh", "intensity": "g/kWh",
    "kgco2e_per_kwh": "kg/kWh", "kgco2e_per_mwh": "kg/MWh",
    "lbs_per_mwh": "lb/MWh", "lbs_co2_per_mwh": "lb/MWh", "lbco2e_per_mwh": "lb/MWh",
}  # fmt: skip
"""Headings of the value's column, and the units that they imply."""

TIMES = ("time_utc", "datetime_utc", "timestamp_utc", "time", "datetime", "timestamp", "date")
DIRTIEST_GCO2E_PER_KWH = 1400.0
"""More than any grid's mean: lignite alone emits about 1,100 g/kWh (IPCC AR5 WG3, annex III)."""

CLEANEST_GCO2E_PER_KWH = 2.0
"""Less than any grid's mean: hydro and wind alone are at about 10 to 25 g/kWh (the same)."""

LONGEST_GAP_S = 3 * 3600


def read_csv(
    path: Path,
    *,
    zone: str | None = None,
    accounting: Accounting = "as given",
    unit: str | None = None,
) -> IntensitySeries:
    """Read a trace: a column of times and one of values, in any order of rows.

    Args:
        path: the file; lines that begin with # are comments.
        zone: the grid's code; the file's name by default.
        accounting: what its values count.
        unit: one of ``UNITS``; by default the one that the heading implies.

    Raises:
        InputError: if it cannot be used; names the line.
    """
    frame = _table(path)
    time_name = _column(path, frame, TIMES, "times")
    value_name = _column(path, frame, tuple(HEADINGS), "values")
    factor = _factor(path, HEADINGS[value_name.casefold()], unit)
    times = _times(path, frame[time_name])
    values = factor * _numbers(path, frame[value_name])
    notes: list[str] = []
    times, values = _sort_rows(path, times, values, notes)
    start_ns, step_ns, filled, basis = _fill_gaps(path, times, values, notes)
    _check_size(path, filled)
    info = SeriesInfo(
        zone=zone or path.stem,
        provider="csv",
        accounting=accounting,
        source=path.name,
        licence="as its publisher says",
        notes=tuple(notes),
    )
    return IntensitySeries(info, start_ns, step_ns, filled, basis)


def read_prices(path: Path) -> IntensitySeries:
    """Read prices of electricity: columns ``time_utc`` and ``price_per_kwh``.

    Raises:
        InputError: if it cannot be used; names the line. A negative price is refused, as no plan
            can be bounded by it.
    """
    frame = _table(path)
    times = _times(path, frame[_column(path, frame, TIMES, "times")])
    values = _numbers(path, frame[_column(path, frame, ("price_per_kwh", "price"), "prices")])
    notes: list[str] = []
    times, values = _sort_rows(path, times, values, notes)
    start_ns, step_ns, filled, basis = _fill_gaps(path, times, values, notes)
    info = SeriesInfo(
        zone="price",
        provider="csv",
        accounting="as given",
        source=path.name,
        licence="as its publisher says",
        notes=tuple(notes),
    )
    return IntensitySeries(info, start_ns, step_ns, filled, basis)


def read_forecasts(path: Path, *, zone: str | None = None) -> list[IntensitySeries]:
    """Read recorded forecasts: a row each, ``issued_utc,h00,h01,…`` for every hour from then on.

    Raises:
        InputError: if it cannot be used.
    """
    frame = _table(path)
    hours = [name for name in frame.columns if name.startswith("h") and name[1:].isdigit()]
    if "issued_utc" not in frame or not hours:
        raise InputError(
            f"{path} has no recorded forecasts: give columns issued_utc, h00, h01 and so on; it "
            f"has {', '.join(map(str, frame.columns[:5]))}"
        )
    issued = _times(path, frame["issued_utc"])
    forecasts = []
    for row, issued_ns in enumerate(issued):
        values = frame.loc[frame.index[row], hours].to_numpy(float)
        info = SeriesInfo(
            zone=zone or path.stem,
            provider="csv",
            accounting="as given",
            source=path.name,
            licence="as its publisher says",
            issued_at=datetime.fromisoformat(iso(int(issued_ns))),
        )
        basis = np.full(len(values), Basis.FORECAST, np.uint8)
        forecasts.append(IntensitySeries(info, int(issued_ns), 3600 * NS_PER_S, values, basis))
    return forecasts


def _table(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, comment="#", skipinitialspace=True)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}".split("\n")[0]) from None
    if len(frame) < 2:
        raise InputError(f"{path} has {len(frame)} rows of data; a trace needs at least two")
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame


def _column(path: Path, frame: pd.DataFrame, names: tuple[str, ...], content: str) -> str:
    for name in frame.columns:
        if name.casefold() in names:
            return str(name)
    raise InputError(
        f"{path} has no column of {content}: name one {names[0]}; it has "
        f"{', '.join(map(str, frame.columns))}"
    )


def _factor(path: Path, heading_unit: str, unit: str | None) -> float:
    if unit is not None and unit not in UNITS:
        raise InputError(f"unit {unit!r} is not known: give one of {', '.join(UNITS)}")
    return UNITS[unit or heading_unit]


def _times(path: Path, column: pd.Series[str]) -> NDArray[np.int64]:
    text = column.astype(str)
    name = str(column.name)
    # Local times are refused, as an hour of each autumn would stand for two.
    aware = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True)
    if not aware.all() and "utc" not in name.casefold():
        line = _line(int(np.flatnonzero(~aware)[0]))
        raise InputError(
            f"{path}, line {line}: the time {text.iloc[line - 2]!r} has no time zone: end it in Z "
            "or an offset, or name the column time_utc if it is UTC"
        )
    times = pd.to_datetime(text, utc=True, errors="coerce", format="ISO8601")
    if times.isna().any():
        line = _line(int(np.flatnonzero(times.isna())[0]))
        raise InputError(
            f"{path}, line {line}: {text.iloc[line - 2]!r} is not a time such as 2026-11-24T12:00Z"
        )
    return np.asarray(times.dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64))


def _numbers(path: Path, column: pd.Series[float]) -> NDArray[np.float64]:
    values = pd.to_numeric(column, errors="coerce")
    is_given = column.notna() & (column.astype(str).str.strip() != "")
    is_wrong = (is_given & values.isna() & (column.astype(str).str.casefold() != "nan")) | np.isinf(
        values.fillna(0)
    )
    is_wrong |= values < 0
    if is_wrong.any():
        row = int(np.flatnonzero(is_wrong)[0])
        raise InputError(
            f"{path}, line {_line(row)}: invalid value {column.iloc[row]}: it must be a number "
            "of at least 0"
        )
    return values.to_numpy(np.float64)


def _sort_rows(
    path: Path, times: NDArray[np.int64], values: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if (np.diff(times) < 0).any():
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        notes.append("its rows were not in order of time and were sorted")
    # Equal duplicates come of files put together; different ones leave open which is right.
    duplicates = np.flatnonzero(np.diff(times) == 0)
    if len(duplicates):
        is_same = (values[duplicates] == values[duplicates + 1]) | np.isnan(values[duplicates + 1])
        if not is_same.all():
            time_text = iso(int(times[duplicates[int(np.flatnonzero(~is_same)[0])]]))
            raise InputError(f"{path} has two different values for {time_text}: remove one")
        is_kept = np.ones(len(times), bool)
        is_kept[duplicates + 1] = False
        times, values = times[is_kept], values[is_kept]
        notes.append(f"{len(duplicates)} duplicate rows were dropped")
    return times, values


def _fill_gaps(
    path: Path, times: NDArray[np.int64], values: NDArray[np.float64], notes: list[str]
) -> tuple[int, int, NDArray[np.float64], NDArray[np.uint8]]:
    """Return start, step, values without gaps, and what each is based on."""
    if len(times) < 2:
        raise InputError(f"{path} covers one moment only; a trace needs at least two")
    steps, counts = np.unique(np.diff(times), return_counts=True)
    # The most frequent step: a gap makes a longer one, and must not set the grid.
    step_ns = int(steps[counts.argmax()])
    positions = (times - times[0]) / step_ns
    irregular = np.flatnonzero(positions != np.round(positions))
    if len(irregular):
        raise InputError(
            f"{path}: {iso(int(times[irregular[0]]))} does not fit the step of "
            f"{step_ns / 60e9:g} minutes that most rows have: give a regular series"
        )
    filled = np.full(int(positions[-1]) + 1, np.nan)
    filled[positions.astype(np.int64)] = values
    missing = np.isnan(filled)
    # Only between two values is there anything to interpolate.
    if missing[[0, -1]].any():
        raise InputError(f"{path} begins or ends with an empty value: remove that row")
    if missing.any():
        _check_gaps(path, int(times[0]), step_ns, missing)
        present = np.flatnonzero(~missing)
        filled[missing] = np.interp(np.flatnonzero(missing), present, filled[present])
        notes.append(f"{int(missing.sum())} missing values were interpolated")
    basis = np.where(missing, Basis.INTERPOLATED, Basis.OBSERVED).astype(np.uint8)
    return int(times[0]), step_ns, filled, basis


def _check_gaps(path: Path, start_ns: int, step_ns: int, missing: NDArray[np.bool_]) -> None:
    edges = np.diff(np.concatenate([[0], missing.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    longest = int((ends - starts).argmax())
    length_s = int(ends[longest] - starts[longest]) * step_ns / NS_PER_S
    if length_s > max(LONGEST_GAP_S, step_ns / NS_PER_S):
        time_text = iso(start_ns + int(starts[longest]) * step_ns)
        raise InputError(
            f"{path} has no values for {length_s / 3600:.1f} hours from {time_text}: too long to "
            "interpolate; give a trace without the gap"
        )


def _check_size(path: Path, values: NDArray[np.float64]) -> None:
    """A series in the wrong unit is off by a thousand, or reads like no grid there is."""
    mean = float(values.mean())
    if mean > DIRTIEST_GCO2E_PER_KWH:
        raise InputError(
            f"{path} has a mean of {mean:,.0f} g/kWh, more than any grid: if it is in lb/MWh say "
            "so with the heading lbs_per_mwh or the unit lb/MWh"
        )
    if 0 < mean < CLEANEST_GCO2E_PER_KWH:
        raise InputError(
            f"{path} has a mean of {mean:.3g} g/kWh, less than any grid: if it is in kg/kWh say so "
            "with the heading kgco2e_per_kwh or the unit kg/kWh"
        )


def _line(row: int) -> int:
    """Return the file's line of a row, where no comments come before."""
    return row + 2
