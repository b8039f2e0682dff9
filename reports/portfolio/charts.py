"""A portfolio's charts: energy by month, and who used it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from carbon_trainer.reports.figures.text import number_text, unit_for
from carbon_trainer.reports.portfolio.figures import Group, Portfolio
from carbon_trainer.reports.render.charts import Chart, Legend
from carbon_trainer.reports.render.svg import CSS, EMISSIONS, ENERGY, draw_svg
from carbon_trainer.units import kwh_from_mj

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MONTHS = 36
MOST_PROJECTS = 12


class _Bar(NamedTuple):
    name: str
    kwh: float
    kg: float | None


def portfolio_charts(portfolio: Portfolio) -> tuple[Chart, ...]:
    """Draw a portfolio's charts; one without data is a sentence instead."""
    months = _without_holes(_bars_of(portfolio.cuts["month"]))[-MOST_MONTHS:]
    projects = _bars_of(portfolio.cuts["project"][:MOST_PROJECTS])
    return (
        _bars("chart-months", "Energy and emissions by month", "Month", months, portfolio),
        _bars("chart-projects", "Energy and emissions by project", "Project", projects, portfolio),
    )


def _bars_of(groups: Sequence[Group]) -> list[_Bar]:
    return [_Bar(group.name, kwh_from_mj(group.sum.energy_mj), group.sum.kg) for group in groups]


def _without_holes(months: list[_Bar]) -> list[_Bar]:
    """Put in the months without a run, so that the axis is one of time."""
    if not months:
        return []
    by_name = {bar.name: bar for bar in months}
    first, last = np.datetime64(months[0].name, "M"), np.datetime64(months[-1].name, "M")
    names = [str(month) for month in np.arange(first, last + 1)]
    return [by_name.get(name, _Bar(name, 0.0, 0.0)) for name in names]


def _bars(key: str, title: str, column: str, bars: Sequence[_Bar], portfolio: Portfolio) -> Chart:
    if not bars or not portfolio.energy.value:
        return Chart(key, title, "There is nothing to draw: no energy is on record.")
    kwh = [bar.kwh for bar in bars]
    kg = [bar.kg for bar in bars]
    has_emissions = portfolio.emissions.value is not None and all(value is not None for value in kg)
    names = [_short(bar.name) for bar in bars]
    top_kwh, kwh_unit = unit_for(max(kwh), "kWh")
    top_kg, kg_unit = unit_for(max((value or 0.0 for value in kg), default=0.0), "kgCO2e")

    def draw(axes: list[Axes]) -> None:
        _panel(axes[0], names, [value / top_kwh for value in kwh], ENERGY)
        axes[0].set_title(f"Energy of the machines, {kwh_unit}")
        if has_emissions:
            _panel(axes[1], names, [(value or 0.0) / top_kg for value in kg], EMISSIONS)
            axes[1].set_title(f"Emissions, location-based, {kg_unit}")

    largest = max(bars, key=lambda bar: bar.kwh)
    desc = (
        f"{largest.name} has most energy, {number_text(max(kwh) / top_kwh, 3)} {kwh_unit}, of "
        f"{len(bars):,} shown."
    )
    rows = tuple(
        (bar.name, number_text(bar.kwh, 4), "missing" if bar.kg is None else number_text(bar.kg, 4))
        for bar in bars
    )
    svg = draw_svg(key, title, desc, draw, panels=2 if has_emissions else 1)
    legend = (Legend(CSS[ENERGY], "Energy"), Legend(CSS[EMISSIONS], "Emissions"))
    columns = (column, "Energy, kWh", "Emissions, kgCO2e")
    return Chart(key, title, desc, svg, legend[: 2 if has_emissions else 1], columns, rows)


def _panel(ax: Axes, names: Sequence[str], values: Sequence[float], colour: str) -> None:
    positions = list(range(len(names)))
    ax.bar(positions, values, color=colour, width=0.7, linewidth=0)
    tick_step = max(1, len(names) // 12)
    ax.set_xticks(
        positions[::tick_step], labels=[names[position] for position in positions[::tick_step]]
    )
    ax.set_xlim(-0.6, max(len(names) - 0.4, 3.4))


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"
