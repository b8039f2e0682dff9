"""Names, files and descriptions of the reports' formats; light, because ``--help`` lists them.

``renderers.py`` and ``portfolio/build.py`` hold the renderer of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from carbon_trainer.errors import InputError, did_you_mean


class Format(NamedTuple):
    """A format of a run's report.

    Attributes:
        file: the file's name.
        description: what it is, for ``--help``.
        is_export: whether it is a format for third parties, which is written only of figures that
            pass the checks.
    """

    file: str
    description: str
    is_export: bool = True


FORMATS = {
    "html": Format("report.html", "page for people", is_export=False),
    "md": Format("report.md", "the same as Markdown", is_export=False),
    "json": Format("report.json", "every figure with its derivation", is_export=False),
    "xlsx": Format("report.xlsx", "workbook", is_export=False),
    "pdf": Format("report.pdf", "the page, printed", is_export=False),
    "parquet": Format("samples.parquet", "raw intervals", is_export=False),
    "boamps": Format("boamps.json", "BoAmps"),
    "modelcard": Format("model-card.md", "Hugging Face model card"),
    "sci": Format("sci.json", "Software Carbon Intensity, ISO/IEC 21031"),
    "if": Format("sci.yaml", "manifest of the Impact Framework"),
    "ghg": Format("ghg.json", "GHG Protocol, scopes 2 and 3"),
    "esrs": Format("esrs.json", "ESRS E1-5 and E1-6"),
    "aiact": Format("ai-act.json", "EU AI Act, Annex XI"),
    "codecarbon": Format("emissions.csv", "CodeCarbon's emissions.csv"),
    "latex": Format("appendix.tex", "appendix of a paper"),
}
"""The formats of a run's report by name."""

PORTFOLIO_FILES = {
    "html": "portfolio.html",
    "md": "portfolio.md",
    "json": "portfolio.json",
    "xlsx": "portfolio.xlsx",
    "pdf": "portfolio.pdf",
    "ghg": "portfolio-ghg.json",
    "esrs": "portfolio-esrs.json",
}
"""The file of each format of a portfolio, by name."""


def check_formats(names: Sequence[str], available: Iterable[str]) -> None:
    """Check the names of formats.

    Raises:
        InputError: naming the first that does not exist, and the nearest ones.
    """
    formats = list(available)
    for name in names:
        if name not in formats:
            raise InputError(
                f"there is no report format {name!r}.{did_you_mean(name, formats)} The formats "
                f"are {', '.join(formats)}."
            )
