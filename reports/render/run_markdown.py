"""A run's report as Markdown, for a repository or a model card."""

from __future__ import annotations

from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.render.templating import markdown_environment
from carbon_trainer.reports.render.view import view_of


def run_markdown(figures: RunFigures) -> str:
    """Write a run's report as Markdown; the same figures give the same text."""
    view = view_of(figures)
    tables = (
        *view.energy_tables, view.results, view.budget, view.boundary, view.factor,
        *(
            extra
            for extra in (view.instruments, view.corrections, view.plan, view.estimate)
            if extra.rows
        ),
        view.segments, *view.about, view.events, view.chain,
    )  # fmt: skip
    return markdown_environment().get_template("run.md.j2").render(view=view, tables=tables)
