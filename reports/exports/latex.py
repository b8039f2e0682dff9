"""An appendix for a paper: a table and a paragraph in LaTeX."""

from __future__ import annotations

import re

from carbon_trainer.reports.exports.ai_act import ai_act_document
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import figure_text

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "\u00d7": r"$\times$", "²": r"$^2$",
}  # fmt: skip
_PATTERN = re.compile("|".join(re.escape(character) for character in _SPECIAL))


def latex(figures: RunFigures) -> str:
    """Write the energy and emissions of a run for a paper."""
    table_figures = (
        figures.energy, figures.facility_energy, figures.emissions, figures.emissions_market,
        figures.embodied, figures.active_time, figures.tokens, figures.kwh_per_million_tokens,
        figures.training_compute,
    )  # fmt: skip
    rows = "\n".join(
        f"{escape(figure.label)} & {escape(figure_text(figure))} & {escape(figure.method)} \\\\"
        for figure in table_figures
    )
    methodology = next(
        row["value"]
        for row in ai_act_document(figures)["rows"]
        if row["item"] == "Methodology for the energy"
    )
    return f"""% Energy and emissions of run {figures.run_id}; needs \\usepackage{{booktabs}}
\\section*{{Energy and emissions of training}}

{escape(str(methodology))}
{escape(figures.emissions.basis)}

\\begin{{table}}[h]
\\centering
\\caption{{Energy and emissions of run {escape(figures.run_id)}; $\\pm$ is one standard deviation.}}
\\begin{{tabular}}{{lrl}}
\\toprule
Figure & Value & Method \\\\
\\midrule
{rows}
\\bottomrule
\\end{{tabular}}
\\end{{table}}

Ledger record {figures.head.seq}, SHA-256 \\texttt{{{figures.head.sha256}}}.
"""


def escape(text: str) -> str:
    """Write text so that LaTeX shows it as it is."""
    return _PATTERN.sub(lambda match: _SPECIAL[match.group()], text)
