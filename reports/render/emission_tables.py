"""Tables of emissions: factors, instruments, and comparisons with plan and estimate."""

from __future__ import annotations

import dataclasses

from carbon_trainer.reports.figures.factors import FactorUse
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import (
    figure_text,
    number_text,
    percent_text,
    time_text,
)
from carbon_trainer.reports.render.table import Table

MOST_FACTOR_COLUMNS = 3
"""Factors up to which each has a column; more have a row each, as a page is not that wide."""

MOST_ROWS = 200


def factor_table(figures: RunFigures) -> Table:
    """Emission factors, with the energy under each: in columns, in rows where there are many."""
    cells_by_factor = [_factor_cells(use) for use in figures.factors]
    titles = [f"From record {use.seq} on" for use in figures.factors]
    caption = "Emission factor, PUE and price"
    if len(cells_by_factor) <= MOST_FACTOR_COLUMNS:
        names = list(cells_by_factor[0]) if cells_by_factor else []
        rows = [(name, *(cells[name] for cells in cells_by_factor)) for name in names]
        return Table("factor", caption, ("What", *titles), tuple(rows))
    rows = [(title, *cells.values()) for title, cells in zip(titles, cells_by_factor, strict=True)]
    omitted = len(rows) - MOST_ROWS
    note = (
        f"{omitted:,} later ones are left out here; the JSON report has all." if omitted > 0 else ""
    )
    return Table(
        "factor", caption, ("Factor", *cells_by_factor[0]), tuple(rows[:MOST_ROWS]), note=note
    )


def _factor_cells(use: FactorUse) -> dict[str, str]:
    fact = use.fact
    price = "missing"
    if fact.price_per_kwh is not None:
        price = f"{number_text(fact.price_per_kwh)} {fact.currency}/kWh, as given"
    return {
        "Intensity": f"{number_text(fact.intensity_gco2e_per_kwh)} gCO2e/kWh ({fact.method})",
        "Uncertainty": f"± {percent_text(fact.uncertainty)}: {fact.uncertainty_basis}",
        "Zone": f"{fact.zone}, {fact.zone_name}",
        "Accounting": fact.accounting,
        "Source": fact.source,
        "Vintage": fact.vintage,
        "Licence": fact.licence,
        "PUE": f"{fact.pue:g} ({fact.pue_method})",
        "Price": price,
        "Facility energy": f"{number_text(use.facility_kwh)} kWh",
        "Emissions": f"{number_text(use.emissions_kgco2e)} kgCO2e",
    }


def instrument_table(figures: RunFigures) -> Table:
    """Contractual instruments for the electricity, with their evidence."""
    rows = tuple(
        (
            f"{use.fact.instrument} {use.fact.serial}",
            use.fact.registry,
            use.fact.vintage,
            use.fact.market,
            use.fact.source or "missing",
            f"{number_text(use.fact.rate_gco2e_per_kwh)} gCO2e/kWh",
            f"{number_text(use.covered_kwh)} kWh",
            str(use.seq),
        )
        for use in figures.instruments
    )
    columns = (
        "Instrument", "Registry", "Vintage", "Market", "Source", "Rate", "Covers", "Record",
    )  # fmt: skip
    return Table("instruments", "Instruments", columns, rows, frozenset({5, 6, 7}))


def plan_table(figures: RunFigures) -> Table:
    """The plan compared with the run, and the saving relative to a case that did not happen."""
    comparison = figures.plan_comparison
    if comparison is None:
        return Table("outcome", "Plan and outcome", ("What", "Value"), ())
    rows = [(figure.label, figure_text(figure)) for figure in comparison.figures()]
    rows += [
        ("Plan made", time_text(comparison.plan_made_ns)),
        ("Planned finish", time_text(comparison.planned_finish_ns)),
        ("Finished", "not yet" if figures.is_open else time_text(figures.ended_ns)),
    ]
    note = (
        f"The saving is an estimate relative to {comparison.counterfactual}. It is in no total of "
        "this report."
    )
    keys = tuple(figure.key for figure in comparison.figures())
    return Table(
        "outcome", "Plan, outcome and saving", ("What", "Value"), tuple(rows), frozenset({1}), note,
        (*keys, "", "", ""),
    )  # fmt: skip


def estimate_table(figures: RunFigures) -> Table:
    """The estimate made before the run compared with the actual figures."""
    comparison = figures.estimate_comparison
    columns = ("What", "Estimated", "Interval", "Actual", "Ratio", "In the interval")
    if comparison is None:
        return Table("foretold", "Estimate and outcome", columns, ())
    rows, keys = [], []
    for row in (comparison.hours, comparison.energy):
        middle = dataclasses.replace(row.estimated, low=None, high=None, sigma=0.0)
        inside = "yes" if row.is_inside else "no"
        ratio = "missing" if row.ratio.value is None else number_text(row.ratio.value, 3)
        rows.append((
            row.actual.label, figure_text(middle), figure_text(row.estimated),
            f"{figure_text(row.actual)} ({row.actual.method})", ratio, inside,
        ))  # fmt: skip
        keys.append(row.estimated.key)
    fact = comparison.fact
    note = (
        f"The estimate is for {fact.accelerators:,} x {fact.accelerator}, with "
        f"{100 * fact.interval:g} % intervals, for the "
        f"{percent_text(comparison.tokens / fact.tokens)} of the planned tokens that "
        "were trained. The actual figures include data preparation and validation; the estimate "
        "does not."
    )
    return Table(
        "foretold", "Estimate and outcome", columns, tuple(rows), frozenset({1, 2, 3, 4}), note,
        tuple(keys),
    )  # fmt: skip
