"""The forms that a run's report comes in, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.exports.ai_act import ai_act
from carbon_trainer.reports.exports.boamps import boamps
from carbon_trainer.reports.exports.codecarbon import codecarbon
from carbon_trainer.reports.exports.esrs import esrs
from carbon_trainer.reports.exports.ghg import ghg
from carbon_trainer.reports.exports.inventory import Inventory, inventory_of_run
from carbon_trainer.reports.exports.latex import latex
from carbon_trainer.reports.exports.sci import impact_framework, sci
from carbon_trainer.reports.figures import RunFigures
from carbon_trainer.reports.forms import FORMS
from carbon_trainer.reports.run_html import run_html
from carbon_trainer.reports.run_json import run_json
from carbon_trainer.reports.run_markdown import run_markdown
from carbon_trainer.reports.text import time_iso

Render = Callable[[Ledger, RunFigures], str | bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """A form of a run's report.

    Attributes:
        file: the file's name.
        render: makes it.
        is_export: whether it is a form of others, for which the checks must find nothing.
    """

    file: str
    render: Render
    is_export: bool


def _of(render: Callable[[RunFigures], str | bytes]) -> Render:
    return lambda _, figures: render(figures)


def _inventory(render: Callable[[Inventory], str]) -> Render:
    def made(_: Ledger, figures: RunFigures) -> str:
        begun = figures.ended_ns if figures.started_ns is None else figures.started_ns
        start, end = time_iso(begun), time_iso(figures.ended_ns)
        return render(inventory_of_run(figures, start, end))

    return made


def _card(figures: RunFigures) -> str:
    # Only a model card needs the library that keeps YAML's comments.
    from carbon_trainer.reports.exports.model_card import model_card

    return model_card(figures)


def _workbook(figures: RunFigures) -> bytes:
    from carbon_trainer.reports.spreadsheet import run_workbook

    return run_workbook(figures)


def _samples(ledger: Ledger, figures: RunFigures) -> bytes:
    from carbon_trainer.reports.samples import samples

    return samples(ledger, figures)


def _pdf(figures: RunFigures) -> bytes:
    from carbon_trainer.reports.pdf import pdf

    return pdf(run_html(figures))


RENDERERS: dict[str, Render] = {
    "html": _of(run_html),
    "md": _of(run_markdown),
    "json": _of(run_json),
    "xlsx": _of(_workbook),
    "pdf": _of(_pdf),
    "parquet": _samples,
    "boamps": _of(boamps),
    "modelcard": _of(_card),
    "sci": _of(sci),
    "if": _of(impact_framework),
    "ghg": _inventory(ghg),
    "esrs": _inventory(esrs),
    "aiact": _of(ai_act),
    "codecarbon": _of(codecarbon),
    "latex": _of(latex),
}
"""What makes each of ``FORMS``."""

FORMATS: dict[str, Format] = {
    name: Format(form.file, RENDERERS[name], form.is_export) for name, form in FORMS.items()
}
"""The forms of a run's report by name."""
