"""A run's charts as inline SVG whose colours come from the page, with their data as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.series import EnergySeries, Floats, LossSeries
from carbon_trainer.reports.figures.tallies import unknown_seconds
from carbon_trainer.reports.figures.text import (
    component_text,
    count_text,
    duration_text,
    number_text,
    unit_for,
)
from carbon_trainer.reports.render.svg import (
    COMPONENTS,
    CSS,
    EMISSIONS,
    ENERGY,
    INK,
    OTHER,
    TRAIN,
    VALIDATION,
    draw_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE_ROWS = 12
MAX_DOTS = 600
_NAMED_PAUSES = 5


@dataclass(frozen=True, slots=True)
class Legend:
    """A line of a chart's legend: the CSS variable of its colour, and what it stands for."""

    css: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with what a reader needs who cannot see it.

    Attributes:
        key: stable name, also its anchor.
        title: what it shows.
        desc: what is to be seen in it, in a sentence or two.
        svg: the drawing; None where there is nothing to draw, and ``desc`` says why.
        legend: its colours.
        columns: names of the columns of ``rows``.
        rows: some of its data, evenly spaced.
    """

    key: str
    title: str
    desc: str
    svg: str | None = None
    legend: tuple[Legend, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def charts_of(figures: RunFigures) -> tuple[Chart, ...]:
    """Draw a run's charts; one without data is a sentence instead."""
    return (
        _power_chart(figures.series, unknown=_has_unknown(figures)),
        _cumulative_chart(figures.series),
        _loss_chart(figures.losses),
    )


def _has_unknown(figures: RunFigures) -> bool:
    return figures.total is not None and unknown_seconds(figures.total) > 0


def _power_chart(series: EnergySeries | None, *, unknown: bool) -> Chart:
    key, title = "chart-power", "Power over time"
    if series is None:
        return Chart(key, title, "No power to draw: no energy is on record.")
    power = series.power_w
    divisor, unit = _time_unit(series.timeline.total_ns / 1e9)
    edges = series.edges_s / divisor
    top = float(np.nan_to_num(power).sum(axis=0).max())
    watt, watt_unit = unit_for(top, "W")

    def draw(axes: list[Axes]) -> None:
        base = np.zeros(power.shape[1])
        for name, row in zip(series.components, power, strict=True):
            upper = base + row / watt
            colour = COMPONENTS.get(name, OTHER)
            axes[0].stairs(upper, edges, baseline=base, fill=True, color=colour, linewidth=0)
            # A bin without a record is NaN, which must not become the next component's baseline.
            base = np.nan_to_num(upper)
        # Room above for the names of pauses.
        axes[0].set_ylim(0, top / watt * 1.12 or 1)
        axes[0].set_title(f"Power of the machines, {watt_unit}")
        _time_axis(axes[0], series, divisor, unit)

    desc = (
        f"Mean power in bins of {number_text(series.width_s)} s, components stacked, before PUE. "
        f"The highest bin has {number_text(top, 3)} W."
    )
    if unknown:
        desc += " Where a device's energy is unknown it is drawn as nothing."
    names = [component_text(name) for name in series.components]
    row_indices = _even_indices(len(series.covered_s))
    return Chart(
        key, title, desc + _pauses_text(series), draw_svg(key, title, desc, draw, panels=1),
        tuple(
            Legend(CSS[COMPONENTS.get(name, OTHER)], component_text(name))
            for name in series.components
        ),
        (f"Recorded time, {unit}", *(f"{name}, W" for name in names)),
        tuple(
            (number_text(edges[i], 3), *(_value_text(p) for p in power[:, i])) for i in row_indices
        ),
    )  # fmt: skip


def _cumulative_chart(series: EnergySeries | None) -> Chart:
    key, title = "chart-cumulative", "Energy and emissions so far"
    if series is None:
        return Chart(key, title, "There is nothing to add up: no energy is on record.")
    divisor, unit = _time_unit(series.timeline.total_ns / 1e9)
    hours = np.minimum(series.edges_s, series.timeline.total_ns / 1e9) / divisor
    panels = [("Energy of the machines", series.energy_kwh, series.energy_sigma_kwh, "kWh", ENERGY)]
    if series.emissions_kgco2e is not None:
        sigma = series.emissions_sigma_kgco2e
        panels.append(("Emissions", series.emissions_kgco2e, sigma, "kgCO2e", EMISSIONS))

    def draw(axes: list[Axes]) -> None:
        for ax, (name, value, sigma, base_unit, colour) in zip(axes, panels, strict=True):
            scale, unit_text = unit_for(float(value[-1]), base_unit)
            if sigma is not None:
                low, high = (value - sigma) / scale, (value + sigma) / scale
                ax.fill_between(hours, low, high, color=colour, alpha=0.22, linewidth=0)
            ax.plot(hours, value / scale, color=colour, linewidth=1.6)
            ax.set_ylim(bottom=0)
            ax.set_title(f"{name}, {unit_text}")
            _time_axis(ax, series, divisor, unit)

    desc = "Cumulative; the band is one standard deviation either side."
    if series.energy_sigma_kwh is None:
        desc = "Cumulative; the uncertainty is missing, so there is no band."
    if series.emissions_kgco2e is None:
        desc += " Emissions are missing: no emission factor is on record."
    row_indices = _even_indices(len(hours))
    svg = draw_svg(key, title, desc, draw, panels=len(panels))
    return Chart(
        key, title, desc + _pauses_text(series), svg,
        tuple(Legend(CSS[colour], name) for name, _, _, _, colour in panels),
        (f"Recorded time, {unit}", *(f"{name}, {u}" for name, _, _, u, _ in panels)),
        tuple(
            (number_text(hours[i], 3), *(_value_text(p[1][i]) for p in panels))
            for i in row_indices
        ),
    )  # fmt: skip


def _loss_chart(losses: LossSeries | None) -> Chart:
    key, title = "chart-loss", "Loss against energy"
    if losses is None:
        return Chart(key, title, "There is no loss to draw: none is on record, or no energy.")
    max_kwh = max([*losses.energy_kwh[-1:], *losses.validation_energy_kwh[-1:]])
    scale, unit = unit_for(float(max_kwh), "kWh")

    def draw(axes: list[Axes]) -> None:
        ax = axes[0]
        dots = np.arange(0, len(losses.loss), max(1, -(-len(losses.loss) // MAX_DOTS)))
        ax.plot(
            losses.energy_kwh[dots] / scale, losses.loss[dots], ".", color=TRAIN, alpha=0.35,
            markersize=3, markeredgewidth=0,
        )  # fmt: skip
        smooth_energy, smooth_loss = _smooth(losses.energy_kwh / scale, losses.loss)
        ax.plot(smooth_energy, smooth_loss, color=TRAIN, linewidth=1.6)
        ax.plot(
            losses.validation_energy_kwh / scale, losses.validation_loss, "D-", color=VALIDATION,
            markersize=3.5, linewidth=1,
        )  # fmt: skip
        ax.set_xlim(left=0)
        ax.set_title("Loss, nats per token")
        ax.set_xlabel(f"Energy of the machines, {unit}")

    desc = (
        "Training loss: dots as recorded, line the mean of a thirtieth of the points; validation "
        "loss: diamonds."
    )
    rows = [(e, number_text(v), "") for e, v in _even_points(losses.energy_kwh, losses.loss)]
    validation_rows = _even_points(losses.validation_energy_kwh, losses.validation_loss)
    rows += [(e, "", number_text(v)) for e, v in validation_rows]
    return Chart(
        key, title, desc, draw_svg(key, title, desc, draw, panels=1),
        (Legend(CSS[TRAIN], "training"), Legend(CSS[VALIDATION], "validation")),
        ("Energy, kWh", "Training loss", "Validation loss"),
        tuple((number_text(row[0]), *row[1:]) for row in sorted(rows)),
    )  # fmt: skip


def _time_axis(ax: Axes, series: EnergySeries, divisor: float, unit: str) -> None:
    pauses = series.timeline.pauses
    for position, length in pauses:
        ax.axvline(position / divisor, color=INK, linewidth=0.9, linestyle=(0, (3, 3)))
        if len(pauses) <= _NAMED_PAUSES:
            ax.annotate(
                f"paused {duration_text(length)}", (position / divisor, 1), xytext=(3, -8),
                xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=7,
            )  # fmt: skip
    ax.set_xlabel(f"Recorded time, {unit}")


def _pauses_text(series: EnergySeries) -> str:
    pauses = series.timeline.pauses
    if not pauses:
        return ""
    seconds = duration_text(sum(length for _, length in pauses))
    return f" Dashed: {count_text(len(pauses), 'pause')}, {seconds} in all, cut out of the axis."


def _time_unit(seconds: float) -> tuple[float, str]:
    for max_s, divisor, unit in ((300, 1, "s"), (10_800, 60, "min"), (259_200, 3600, "h")):
        if seconds <= max_s:
            return divisor, unit
    return 86_400, "d"


def _smooth(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Average both over windows of a thirtieth of the points."""
    window = max(1, len(y) // 30)
    if len(y) < 2 * window:
        return x, y
    kernel = np.ones(window) / window
    return np.convolve(x, kernel, "valid"), np.convolve(y, kernel, "valid")


def _even_indices(count: int) -> list[int]:
    """Indices of at most TABLE_ROWS evenly spaced ones of ``count``, both ends included."""
    return sorted(
        {int(index) for index in np.linspace(0, count - 1, min(count, TABLE_ROWS)).round()}
    )


def _even_points(x: Floats, y: Floats) -> list[tuple[float, float]]:
    return [(float(x[i]), float(y[i])) for i in _even_indices(len(y))]


def _value_text(value: float) -> str:
    return "nothing recorded" if np.isnan(value) else number_text(float(value))
