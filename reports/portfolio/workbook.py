"""A portfolio as an Excel workbook, a sheet for each cut and one with every run."""

from __future__ import annotations

from carbon_trainer.reports.portfolio.document import group_row, portfolio_document, run_row
from carbon_trainer.reports.portfolio.figures import Portfolio
from carbon_trainer.reports.render.spreadsheet import workbook

_COLUMNS = ("key", "label", "value", "sigma", "low", "high", "unit", "method", "formula", "basis")


def portfolio_workbook(portfolio: Portfolio) -> bytes:
    """Write a portfolio as a workbook; the same figures give the same bytes."""
    document = portfolio_document(portfolio)
    figures = document["figures"].values()
    about = {
        **document["selection"],
        **document["period"],
        "heads_sha256": document["heads_sha256"],
        "correlation": document["correlation"],
    }
    sheets = {
        "Portfolio": [{"what": name, "value": value} for name, value in about.items()],
        "Figures": [{name: row[name] for name in _COLUMNS} for row in figures],
        "Inventory": document["inventory"],
        **{
            f"By {name}": [group_row(group) for group in groups]
            for name, groups in portfolio.cuts.items()
        },
        "Runs": [run_row(line) for line in portfolio.lines],
        "Gaps": [{"gap": gap} for gap in portfolio.gaps],
    }
    return workbook(sheets, title="Energy and emissions of training runs")
