"""The renderer of each format of a run's report."""

from __future__ import annotations

from collections.abc import Callable

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.exports.ai_act import ai_act
from carbon_trainer.reports.exports.boamps import boamps
from carbon_trainer.reports.exports.codecarbon import codecarbon
from carbon_trainer.reports.exports.esrs import esrs
from carbon_trainer.reports.exports.ghg import ghg
from carbon_trainer.reports.exports.inventory import Inventory, inventory_of_run
from carbon_trainer.reports.exports.latex import latex
from carbon_trainer.reports.exports.sci import impact_framework, sci
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import time_iso
from carbon_trainer.reports.render.pdf import pdf
from carbon_trainer.reports.render.run_html import run_html
from carbon_trainer.reports.render.run_json import run_json
from carbon_trainer.reports.render.run_markdown import run_markdown
from carbon_trainer.reports.render.samples import samples

Renderer = Callable[[Ledger, RunFigures], str | bytes]


def _from_figures(render: Callable[[RunFigures], str | bytes]) -> Renderer:
    return lambda _, figures: render(figures)


def _from_inventory(render: Callable[[Inventory], str]) -> Renderer:
    def render_inventory(_: Ledger, figures: RunFigures) -> str:
        start_ns = figures.ended_ns if figures.started_ns is None else figures.started_ns
        start, end = time_iso(start_ns), time_iso(figures.ended_ns)
        return render(inventory_of_run(figures, start, end))

    return render_inventory


def _card(figures: RunFigures) -> str:
    # Only a model card needs the library that keeps YAML's comments.
    from carbon_trainer.reports.exports.model_card import model_card

    return model_card(figures)


def _workbook(figures: RunFigures) -> bytes:
    # Only a workbook needs xlsxwriter.
    from carbon_trainer.reports.render.spreadsheet import run_workbook

    return run_workbook(figures)


def _pdf(figures: RunFigures) -> bytes:
    return pdf(run_html(figures))


RENDERERS: dict[str, Renderer] = {
    "html": _from_figures(run_html),
    "md": _from_figures(run_markdown),
    "json": _from_figures(run_json),
    "xlsx": _from_figures(_workbook),
    "pdf": _from_figures(_pdf),
    "parquet": samples,
    "boamps": _from_figures(boamps),
    "modelcard": _from_figures(_card),
    "sci": _from_figures(sci),
    "if": _from_figures(impact_framework),
    "ghg": _from_inventory(ghg),
    "esrs": _from_inventory(esrs),
    "aiact": _from_figures(ai_act),
    "codecarbon": _from_figures(codecarbon),
    "latex": _from_figures(latex),
}
"""The renderer of each of ``FORMATS``."""
