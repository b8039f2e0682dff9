"""The closing table on the terminal: a run's main figures as plain rows of text."""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.reports.figures.figure import Figure
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import figure_text


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A figure for the terminal.

    Attributes:
        label: what it is.
        value: number, one sigma and unit: ``12.4 ± 0.6 Wh``.
        method: ``measured``, ``estimated``, ``assumed``, ``unknown`` or ``missing``.
        is_total: whether it sums up rows before it.
    """

    label: str
    value: str
    method: str
    is_total: bool = False


def summary_rows(figures: RunFigures) -> tuple[SummaryRow, ...]:
    """Return a run's main figures in the order in which they are shown.

    Energy by component and in total (one unit for all of them), emissions, the cost if there was
    a price, tokens per kWh.
    """
    energy = figures.energy
    rows = [
        SummaryRow(figure.label, figure_text(figure, like=energy), figure.method)
        for figure in figures.component_figures
    ]
    rows.append(SummaryRow(energy.label, figure_text(energy), energy.method, is_total=True))
    other_figures: list[Figure] = []
    if figures.facility_energy.value != energy.value:
        other_figures.append(figures.facility_energy)
    other_figures.append(figures.emissions)
    if figures.cost is not None:
        other_figures.append(figures.cost)
    other_figures.append(figures.tokens_per_kwh)
    rows += [
        SummaryRow(figure.label, figure_text(figure), figure.method) for figure in other_figures
    ]
    return tuple(rows)
