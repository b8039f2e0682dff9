"""Workbook and samples: readable by others, and the same bytes each time."""

from __future__ import annotations

import io
from datetime import datetime

import openpyxl
import pyarrow.parquet as pq
import pytest

from carbon_trainer.reports.build import write_run_report
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.formats import FORMATS, PORTFOLIO_FILES
from carbon_trainer.reports.portfolio import build
from carbon_trainer.reports.renderers import RENDERERS
from tests.reports import ledgers
from tests.reports.ledgers import RUN


def made(ledger, form: str) -> bytes:
    return RENDERERS[form](ledger, run_figures(ledger, RUN))


def test_every_form_that_help_lists_can_be_made_and_no_other():
    assert set(RENDERERS) == set(FORMATS)
    assert set(build.PORTFOLIO_RENDERERS) == set(PORTFOLIO_FILES)


@pytest.mark.parametrize("form", ["xlsx", "parquet"])
@pytest.mark.parametrize("name", ["resumed", "amended"])
def test_the_same_ledger_gives_the_same_bytes(name, form, make, tmp_path):
    assert made(make(name), form) == made(ledgers.ALL[name](tmp_path / "again.sqlite"), form)


@pytest.mark.parametrize("name", sorted(ledgers.ALL))
def test_a_workbook_holds_every_figure_as_a_number(name, make):
    ledger = make(name)
    book = openpyxl.load_workbook(io.BytesIO(made(ledger, "xlsx")))
    rows = list(book["Figures"].iter_rows(values_only=True))
    columns = {column: number for number, column in enumerate(rows[0])}
    told = {row[columns["key"]]: row for row in rows[1:]}
    for figure in run_figures(ledger, RUN).all_figures():
        value = told[figure.key][columns["value"]]
        # A workbook keeps 16 digits.
        assert value == (None if figure.value is None else pytest.approx(figure.value, rel=1e-14))
        assert told[figure.key][columns["method"]] == figure.method
    assert book.properties.created == datetime(1980, 1, 1)  # noqa: DTZ001 - the file has no zone


def test_no_text_of_a_workbook_is_a_formula(tmp_path):
    chain = ledgers.opened(tmp_path / "l.sqlite", name="=1+1", project="@SUM(A1)")
    chain.close("failed", '=HYPERLINK("https://example.org")')
    book = openpyxl.load_workbook(io.BytesIO(made(chain.ledger, "xlsx")))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert "=1+1" in {cell.value for cell in cells}
    assert all(cell.data_type != "f" for cell in cells)


def test_samples_are_the_intervals_with_their_head(make):
    ledger = make("resumed")
    table = pq.read_table(io.BytesIO(made(ledger, "parquet")))
    assert sum(table.column("energy_mj").to_pylist()) == ledger.energy_mj(RUN)
    head = ledger.head(RUN)
    assert table.schema.metadata[b"ledger sha256"].decode() == head.sha256


@pytest.mark.slow
def test_several_forms_lie_side_by_side(make, tmp_path):
    names = [name for name in FORMATS if name != "pdf"]
    paths = write_run_report(make("amended"), RUN, tmp_path / "out", names)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        FORMATS[name].file for name in names
    }
    assert all(path.stat().st_size > 100 for path in paths.values())
