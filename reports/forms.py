"""Names, files and descriptions of reports' forms; light, because ``--help`` lists them.

``formats.py`` and ``portfolio/build.py`` know how each is made.
"""

from __future__ import annotations

from typing import NamedTuple


class Form(NamedTuple):
    """A form of a run's report.

    Attributes:
        file: the file's name.
        about: what it is, for ``--help``.
        is_export: whether it is a form of others, for which the checks must find nothing.
    """

    file: str
    about: str
    is_export: bool = True


FORMS = {
    "html": Form("report.html", "page for people", is_export=False),
    "md": Form("report.md", "the same as Markdown", is_export=False),
    "json": Form("report.json", "every figure with its derivation", is_export=False),
    "xlsx": Form("report.xlsx", "workbook", is_export=False),
    "pdf": Form("report.pdf", "the page, printed", is_export=False),
    "parquet": Form("samples.parquet", "raw intervals", is_export=False),
    "boamps": Form("boamps.json", "BoAmps"),
    "modelcard": Form("model-card.md", "Hugging Face model card"),
    "sci": Form("sci.json", "Software Carbon Intensity, ISO/IEC 21031"),
    "if": Form("sci.yaml", "manifest of the Impact Framework"),
    "ghg": Form("ghg.json", "GHG Protocol, scopes 2 and 3"),
    "esrs": Form("esrs.json", "ESRS E1-5 and E1-6"),
    "aiact": Form("ai-act.json", "EU AI Act, Annex XI"),
    "codecarbon": Form("emissions.csv", "CodeCarbon's emissions.csv"),
    "latex": Form("appendix.tex", "appendix of a paper"),
}
"""The forms of a run's report by name."""

PORTFOLIO_FILES = {
    "html": "portfolio.html",
    "md": "portfolio.md",
    "json": "portfolio.json",
    "xlsx": "portfolio.xlsx",
    "pdf": "portfolio.pdf",
    "ghg": "portfolio-ghg.json",
    "esrs": "portfolio-esrs.json",
}
"""The file of each form of a report over many runs, by name."""
