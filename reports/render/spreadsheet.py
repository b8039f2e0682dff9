"""A report as an Excel workbook: numbers as numbers, text always as text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import xlsxwriter
from xlsxwriter.workbook import Workbook

from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import time_iso
from carbon_trainer.reports.render.run_json import run_document

Rows = Sequence[Mapping[str, Any]]

MOST_ROWS = 1_000_000
"""A sheet takes 1,048,576."""

_FIGURE_COLUMNS = (
    "key", "label", "value", "sigma", "low", "high", "unit", "method", "formula", "basis",
)  # fmt: skip
_EPOCH = datetime(1980, 1, 1, tzinfo=UTC)


def run_workbook(figures: RunFigures) -> bytes:
    """Write a run's report as a workbook; the same figures give the same bytes."""
    document = run_document(figures)
    figure_rows = list(document["figures"].values())
    input_rows = [
        {"figure": figure["key"], "made by": figure["formula"], **_input(figure_input)}
        for figure in figure_rows
        for figure_input in figure["inputs"]
    ]
    energy_rows = [
        {"cut": cut, **row}
        for cut in ("by_component", "by_device", "by_phase")
        for row in document["energy"][cut]
    ]
    run_rows = [
        {"what": name, "value": value} for name, value in {**document["run"],
         "chain_seq": document["chain"]["seq"], "chain_sha256": document["chain"]["sha256"],
         "correlation": document["correlation"]}.items()
    ]  # fmt: skip
    return workbook(
        {
            "Run": run_rows,
            "Figures": [{name: row[name] for name in _FIGURE_COLUMNS} for row in figure_rows],
            "Derivations": input_rows,
            "Energy": energy_rows,
            "Factors": document["factors"],
            "Instruments": document["instruments"],
            "Segments": document["segments"],
            "Corrections": document["corrections"],
            "Gaps": document["gaps"],
            "Events": document["events"],
            "Sources": document["sources"],
        },
        title=f"Energy and emissions of run {figures.run_id}",
        comments=f"Made at {time_iso(figures.ended_ns)} of the run's record",
    )


def workbook(sheets: Mapping[str, Rows], *, title: str, comments: str = "") -> bytes:
    """Write tables as a workbook, a sheet each.

    Args:
        sheets: rows by the sheet's name; the first row's keys are the columns.
        title: of the document.
        comments: likewise.
    """
    target = io.BytesIO()
    book = xlsxwriter.Workbook(target, {"in_memory": True, "strings_to_formulas": False})
    # Without a date of its own the file would hold the present time.
    book.set_properties({"title": title, "comments": comments, "created": _EPOCH})
    for name, rows in sheets.items():
        _sheet(book, name, rows)
    book.close()
    return target.getvalue()


def _sheet(book: Workbook, name: str, rows: Rows) -> None:
    sheet = book.add_worksheet(name)
    columns = list(dict.fromkeys(key for row in rows[:MOST_ROWS] for key in row))
    head = book.add_format({"bold": True, "bottom": 1})
    for number, column in enumerate(columns):
        sheet.write_string(0, number, column, head)
        sheet.set_column(number, number, _width(column, rows[:200]))
    if not columns:
        sheet.write_string(0, 0, "Nothing of this is on record.")
    for row_number, row in enumerate(rows[:MOST_ROWS], start=1):
        for number, column in enumerate(columns):
            _write(sheet, row_number, number, row.get(column))
    if columns:
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, max(1, min(len(rows), MOST_ROWS)), len(columns) - 1)


def _write(sheet: Any, row: int, column: int, value: Any) -> None:
    if value is None or value == "":
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        # A cell takes 32,767 characters.
        sheet.write_string(row, column, _text(value)[:32_000])
    else:
        sheet.write_number(row, column, value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def _width(column: str, rows: Iterable[Mapping[str, Any]]) -> float:
    longest = max([len(column), *(len(_text(row.get(column, ""))) for row in rows)])
    return float(min(60, longest + 2))


def _input(figure_input: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figure_input.items() if value not in (None, "")}
