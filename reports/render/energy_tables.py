"""Tables of energy: by component, device and phase, by segment, and against budgets."""

from __future__ import annotations

from carbon_trainer.reports.figures.figure import ASSUMED, ESTIMATED, MEASURED, Figure
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.tallies import Tally
from carbon_trainer.reports.figures.text import (
    component_text,
    duration_text,
    figure_text,
    number_text,
    percent_text,
    time_text,
)
from carbon_trainer.reports.render.table import Table
from carbon_trainer.units import energy_text, kwh_from_mj


def component_table(figures: RunFigures) -> Table:
    """Energy by component, with the total."""
    rows = [_energy_row(component_text(row.name), row, figures) for row in figures.by_component]
    keys = [figure.key for figure in figures.component_figures]
    if figures.total is not None:
        rows.append(_energy_row("Total", figures.total, figures))
        keys.append(figures.energy.key)
    return _energy_table("by-component", "Energy by component", "Component", rows, tuple(keys))


def device_table(figures: RunFigures) -> Table:
    """Energy by device."""
    labels = {(s.component, s.device): s.label for s in figures.provenance.sources}
    rows = []
    for row in figures.by_device:
        label = labels.get((row.component, row.name), "")
        name = f"{label} ({row.name})" if label else row.name
        rows.append(_energy_row(f"{component_text(row.component)}: {name}", row, figures))
    return _energy_table("by-device", "Energy by device", "Device", rows)


def phase_table(figures: RunFigures) -> Table:
    """Energy by phase of the run."""
    rows = [_energy_row(row.name, row, figures)[:4] for row in figures.by_phase]
    columns = ("Phase", "Energy", "Share", "Method")
    return Table("by-phase", "Energy by phase", columns, tuple(rows), frozenset({1, 2}))


def _energy_table(
    key: str, caption: str, first: str, rows: list[tuple[str, ...]], keys: tuple[str, ...] = ()
) -> Table:
    columns = (
        first, "Energy", "Share", "Method", "Measured", "Estimated", "Unknown", "Not recorded",
    )  # fmt: skip
    note = (
        "The last four columns are device time: how much of it was measured, estimated (or "
        "assumed), has intervals of unknown energy, or has no interval at all."
    )
    return Table(key, caption, columns, tuple(rows), frozenset({1, 2, 4, 5, 6, 7}), note, keys)


def _energy_row(name: str, row: Tally, figures: RunFigures) -> tuple[str, ...]:
    total_mj = figures.total.energy_mj if figures.total else 0
    share = row.energy_mj / total_mj if total_mj else None
    sigma = None if row.sigma_mj is None else kwh_from_mj(row.sigma_mj)
    figure = Figure(
        key="", label=name, value=kwh_from_mj(row.energy_mj), unit="kWh", method=row.method,
        sigma=sigma, basis="",
    )  # fmt: skip
    seconds = row.seconds_by_method
    seconds_shown = {MEASURED: seconds.get(MEASURED, 0.0)}
    seconds_shown[ESTIMATED] = seconds.get(ESTIMATED, 0.0) + seconds.get(ASSUMED, 0.0)
    unknown = row.recorded_s - seconds_shown[MEASURED] - seconds_shown[ESTIMATED]
    total_s = row.recorded_s + row.unrecorded_s
    parts = (seconds_shown[MEASURED], seconds_shown[ESTIMATED], unknown, row.unrecorded_s)
    times = tuple(_part_text(part, total_s) for part in parts)
    return (name, figure_text(figure, like=figures.energy), percent_text(share), row.method, *times)


def _part_text(seconds: float, total_s: float) -> str:
    if seconds < 1e-6 or not total_s:
        return "none"
    return f"{duration_text(seconds)} ({percent_text(seconds / total_s)})"


def segment_table(figures: RunFigures) -> Table:
    """The stretches that the run ran in."""
    rows = []
    for segment in figures.segments:
        energy = figures.energy
        text = "none"
        if energy.value is not None:
            segment_energy = Figure(
                key="", label="", value=kwh_from_mj(segment.energy_mj), unit="kWh", method="",
                sigma=0.0, basis="",
            )  # fmt: skip
            text = figure_text(segment_energy, like=energy)
        last = "?" if segment.last_step is None else f"{segment.last_step:,}"
        steps = f"{segment.first_step:,} to {last}"
        if segment.repeated_steps or segment.lost_mj:
            steps += f" ({segment.repeated_steps:,} repeated"
            steps += f", {energy_text(kwh_from_mj(segment.lost_mj))} lost)"
        rows.append((
            str(segment.number), time_text(segment.start_ns), time_text(segment.end_ns),
            duration_text(segment.seconds), text, steps, f"{segment.ended}: {segment.reason}",
        ))  # fmt: skip
    columns = ("Segment", "Start", "End", "Length", "Energy", "Steps", "Why it ended")
    note = "The end of an open segment is the last time on record for it."
    return Table(
        "segments", "Segments", columns, tuple(rows), frozenset({3, 4, 5}), note if rows else ""
    )


def budget_table(figures: RunFigures) -> Table:
    """Budgets and what was used of them."""
    rows = tuple(
        (
            budget.setting,
            f"{number_text(budget.limit)} {budget.unit}".strip(),
            figure_text(budget.figure),
            percent_text(budget.share),
        )
        for budget in figures.budgets
    )
    note = "Budgets count what the facility draws: energy of the machines x PUE."
    columns = ("Setting", "Limit", "Used", "Share used")
    return Table("budget", "Budget", columns, rows, frozenset({1, 2, 3}), note)
