"""A run's report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.render.charts import charts_of
from carbon_trainer.reports.render.templating import html_environment
from carbon_trainer.reports.render.view import title_of, view_of

_CONTENTS = (
    ("charts", "Charts"),
    ("energy-tables", "Energy"),
    ("results-tables", "All figures and budget"),
    ("boundary-tables", "Boundary and factor"),
    ("segment-tables", "Segments and events"),
    ("about", "Corpus, model, machine"),
    ("how", "How each figure is made"),
    ("proof", "Proof"),
)


def run_html(figures: RunFigures) -> str:
    """Write a run's report as HTML; the same figures give the same text."""
    view = view_of(figures)
    template = html_environment().get_template("run.html.j2")
    page = template.render(
        view=view, title=title_of(view), charts=charts_of(figures), contents=_CONTENTS
    )
    return page.lstrip()
