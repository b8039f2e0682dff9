"""Writes a portfolio into a folder, whole files or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.exports.checks import problems_of_inventory, refuse
from carbon_trainer.reports.exports.esrs import esrs
from carbon_trainer.reports.exports.ghg import ghg
from carbon_trainer.reports.formats import PORTFOLIO_FILES, check_formats
from carbon_trainer.reports.portfolio.document import portfolio_json
from carbon_trainer.reports.portfolio.figures import Portfolio, portfolio_of
from carbon_trainer.reports.portfolio.page import portfolio_html, portfolio_markdown
from carbon_trainer.reports.portfolio.selection import Selection
from carbon_trainer.reports.render.files import write_files
from carbon_trainer.reports.render.pdf import pdf


def _workbook(portfolio: Portfolio) -> bytes:
    # Only a workbook needs xlsxwriter.
    from carbon_trainer.reports.portfolio.workbook import portfolio_workbook

    return portfolio_workbook(portfolio)


def _pdf(portfolio: Portfolio) -> bytes:
    return pdf(portfolio_html(portfolio))


PORTFOLIO_RENDERERS: dict[str, Callable[[Portfolio], str | bytes]] = {
    "html": portfolio_html,
    "md": portfolio_markdown,
    "json": portfolio_json,
    "xlsx": _workbook,
    "pdf": _pdf,
    "ghg": lambda portfolio: ghg(portfolio.inventory),
    "esrs": lambda portfolio: esrs(portfolio.inventory),
}
"""The renderer of each of ``PORTFOLIO_FILES``."""

EXPORTS = ("ghg", "esrs")


def write_portfolio(
    ledger: Ledger, selection: Selection, directory: Path,
    formats: Sequence[str] = ("html", "md", "json"),
) -> dict[str, Path]:  # fmt: skip
    """Write a portfolio, a file for each format.

    Args:
        ledger: where the runs are.
        selection: which of them, in which period.
        directory: the folder to write into; made if it is not there.
        formats: names of ``PORTFOLIO_FILES``.

    Raises:
        InputError: if a format is not known, there is no such run, the figures fail a check that
            exports need, or the folder cannot be written.
        LedgerError: if the ledger cannot be read.
    """
    check_formats(formats, PORTFOLIO_FILES)
    portfolio = portfolio_of(ledger, selection)
    if set(formats) & set(EXPORTS):
        refuse(problems_of_inventory(portfolio.inventory))
    contents = {name: PORTFOLIO_RENDERERS[name](portfolio) for name in formats}
    files = {name: (PORTFOLIO_FILES[name], contents[name]) for name in formats}
    return write_files(directory, files)
