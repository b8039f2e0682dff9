"""A portfolio's forms: the same bytes each time, whole pages, one story."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import openpyxl
import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.formats import PORTFOLIO_FILES
from carbon_trainer.reports.portfolio.build import PORTFOLIO_RENDERERS, write_portfolio
from carbon_trainer.reports.portfolio.charts import portfolio_charts
from carbon_trainer.reports.portfolio.figures import portfolio_of
from carbon_trainer.reports.portfolio.selection import Selection
from tests.reports import ledgers
from tests.reports.portfolio.many import many
from tests.reports.test_build import Page

pytestmark = pytest.mark.slow

ALL = Selection()
SCHEMA = json.loads(
    files("carbon_trainer.reports").joinpath("schemas/portfolio.schema.json").read_text("utf-8")
)


def made(ledger: Ledger, form: str) -> bytes:
    text = PORTFOLIO_RENDERERS[form](portfolio_of(ledger, ALL))
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize("form", sorted(set(PORTFOLIO_RENDERERS) - {"pdf"}))
def test_the_same_ledger_gives_the_same_bytes(form: str, several: Ledger, tmp_path: Path) -> None:
    assert made(several, form) == made(many(tmp_path / "elsewhere.sqlite"), form)


def test_json_fits_its_schema(several: Ledger) -> None:
    document = json.loads(made(several, "json"))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert sum(row["energy_kwh"] for row in document["lines"]) == pytest.approx(
        document["figures"]["energy"]["value"]
    )


def test_the_page_is_whole_and_needs_nothing_else(several: Ledger) -> None:
    page = Page(made(several, "html").decode())
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert "script" not in page.tags


def test_months_without_a_run_keep_their_place_on_the_axis(several: Ledger) -> None:
    portfolio = portfolio_of(several, ALL)
    months = portfolio_charts(portfolio)[0]
    rows = {row[0]: row[1] for row in months.rows}
    assert list(rows) == [*(f"2026-{month:02}" for month in range(1, 13)), "2027-01"]
    assert [name for name, energy in rows.items() if energy != "0"] == [
        group.name for group in portfolio.cuts["month"]
    ]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    ledger = ledgers.hostile(tmp_path / "l.sqlite")
    html = made(ledger, "html").decode()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in made(ledger, "md").decode().replace("\\<", "")


def test_the_workbook_has_every_run(several: Ledger) -> None:
    ledger = several
    book = openpyxl.load_workbook(io.BytesIO(made(ledger, "xlsx")))
    rows = list(book["Runs"].iter_rows(values_only=True))
    assert [row[0] for row in rows[1:]] == ledger.run_ids()
    assert {"By project", "By month", "Inventory", "Figures"} <= set(book.sheetnames)


def test_thousands_of_runs_are_paged_and_the_page_stays_small(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite")
    for number in range(1_150):
        chain = ledgers.Chain(ledger, f"run-{number:05d}")
        chain.put(ledgers.OPENED, ledgers.GB, ledgers.MACHINE)
        chain.train(2)
    html = made(ledger, "html").decode()
    assert len(html) < 1_500_000
    assert html.count("<details") >= 10
    assert "150 more are in the workbook" in html


def test_forms_are_written_side_by_side_or_refused_by_name(several: Ledger, tmp_path: Path) -> None:
    ledger = several
    names = [name for name in PORTFOLIO_RENDERERS if name != "pdf"]
    paths = write_portfolio(ledger, ALL, tmp_path / "out", names)
    assert {path.name for path in paths.values()} == {PORTFOLIO_FILES[n] for n in names}
    with pytest.raises(InputError, match="Did you mean xlsx"):
        write_portfolio(ledger, ALL, tmp_path / "out", ["xlx"])
