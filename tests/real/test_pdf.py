"""Reports as PDF, by WeasyPrint on the system's Pango."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path

import pypdf
import pytest

from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.portfolio.build import PORTFOLIO_RENDERERS
from carbon_trainer.reports.portfolio.figures import portfolio_of
from carbon_trainer.reports.portfolio.selection import Selection
from carbon_trainer.reports.renderers import RENDERERS
from tests.reports import ledgers
from tests.reports.ledgers import RUN
from tests.reports.portfolio.many import many

pytestmark = pytest.mark.real


def made(path: Path, name: str) -> bytes:
    if name == "many":
        return bytes(PORTFOLIO_RENDERERS["pdf"](portfolio_of(many(path), Selection())))
    ledger = ledgers.ALL[name](path)
    return bytes(RENDERERS["pdf"](ledger, run_figures(ledger, RUN)))


@pytest.mark.parametrize("name", ["resumed", "amended", "hostile", "many"])
def test_the_same_ledger_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    assert made(tmp_path / "a.sqlite", name) == made(tmp_path / "b.sqlite", name)


@pytest.mark.parametrize("name", ["finished", "many"])
def test_it_shows_the_figures_in_a_few_pages(name: str, tmp_path: Path) -> None:
    document = pypdf.PdfReader(io.BytesIO(made(tmp_path / "l.sqlite", name)))
    text = " ".join(page.extract_text() for page in document.pages)
    assert "Energy of the machines" in text
    assert 2 <= len(document.pages) <= 20


def test_its_charts_have_the_pages_colours(tmp_path: Path) -> None:
    raw = made(tmp_path / "l.sqlite", "finished")
    streams = [
        zlib.decompress(part)
        for part in re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", raw, re.DOTALL)
        if part[:1] == b"\x78"
    ]
    blue = b"0.168627451 0.407843137 0.690196078 rg"
    drawn = b" ".join(streams)
    assert blue in drawn or b"0.168627 0.407843 0.690196 rg" in drawn
