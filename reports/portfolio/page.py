"""A portfolio as one HTML file that needs nothing else, and as Markdown."""

from __future__ import annotations

from carbon_trainer.reports.portfolio.charts import portfolio_charts
from carbon_trainer.reports.portfolio.figures import Portfolio
from carbon_trainer.reports.portfolio.view import portfolio_view
from carbon_trainer.reports.render.templating import html_environment, markdown_environment

_CONTENTS = (
    ("charts", "Charts"),
    ("cuts", "Energy by project, user, month and outcome"),
    ("scopes", "Scopes"),
    ("runs", "Runs"),
    ("how", "How each figure is made"),
    ("proof", "Proof"),
)
_MARKDOWN_RUNS = 1
"""Pages of runs in Markdown, which cannot fold them away."""


def portfolio_html(portfolio: Portfolio) -> str:
    """Write a portfolio as HTML; the same figures give the same text."""
    template = html_environment().get_template("portfolio.html.j2")
    page = template.render(
        view=portfolio_view(portfolio), charts=portfolio_charts(portfolio), contents=_CONTENTS
    )
    return page.lstrip()


def portfolio_markdown(portfolio: Portfolio) -> str:
    """Write a portfolio as Markdown; the same figures give the same text."""
    view = portfolio_view(portfolio)
    tables = (*view.cuts, view.inventory, view.kinds, *view.pages[:_MARKDOWN_RUNS], view.proof)
    template = markdown_environment().get_template("portfolio.md.j2")
    return template.render(view=view, tables=tables)
