"""What a portfolio's page says, in order and in words, for HTML and Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from carbon_trainer.reports.figures.figure import Figure
from carbon_trainer.reports.figures.text import (
    count_text,
    figure_text,
    number_text,
    percent_text,
    time_text,
    unit_for,
)
from carbon_trainer.reports.portfolio.figures import Group, Portfolio
from carbon_trainer.reports.portfolio.lines import Line
from carbon_trainer.reports.render.derivation import Derivation, derivation_of
from carbon_trainer.reports.render.table import Table
from carbon_trainer.reports.render.view import Tile, status_text
from carbon_trainer.units import kwh_from_mj

MOST_RUNS = 1_000
"""Runs on the page, those that used most; the workbook and the JSON report have all."""

PAGE = 100
MOST_GROUPS = 60

_CUTS = {
    "project": "By project", "user": "By user", "purpose": "By purpose",
    "outcome": "By how the run ended", "month": "By month", "zone": "By grid",
    "component": "By component",
}  # fmt: skip


@dataclass(frozen=True)
class PortfolioView:
    """A portfolio in words.

    Attributes:
        lead: a paragraph on what is in it.
        tiles: headline figures.
        cuts: tables of the same energy, cut in several ways.
        inventory: by scope.
        pages: the runs, some on each.
    """

    title: str
    period: str
    lead: str
    tiles: tuple[Tile, ...]
    gaps: tuple[str, ...]
    cuts: tuple[Table, ...]
    inventory: Table
    kinds: Table
    pages: tuple[Table, ...]
    runs_note: str
    derivations: tuple[Derivation, ...]
    correlation: str
    proof: Table


def portfolio_view(portfolio: Portfolio) -> PortfolioView:
    """Put a portfolio into words."""
    start, end = portfolio.inventory.start[:10], portfolio.inventory.end[:10]
    return PortfolioView(
        title=f"Energy and emissions of {count_text(len(portfolio.lines), 'training run')}",
        period=f"{start} to {end}",
        lead=_lead(portfolio),
        tiles=_tiles(portfolio),
        gaps=tuple(f"{gap[:1].upper()}{gap[1:]}." for gap in portfolio.gaps),
        cuts=tuple(
            _cut(key, caption, portfolio.cuts[key], portfolio) for key, caption in _CUTS.items()
        ),
        inventory=_inventory(portfolio),
        kinds=_cut("kinds", "By kind of emission factor", portfolio.kinds, portfolio),
        pages=_pages(portfolio),
        runs_note=_runs_note(portfolio),
        derivations=tuple(derivation_of(figure) for figure in portfolio.all_figures()),
        correlation=portfolio.correlation,
        proof=_proof(portfolio),
    )


def _lead(portfolio: Portfolio) -> str:
    counts: dict[str, int] = {}
    for line in portfolio.lines:
        counts[line.run.status] = counts.get(line.run.status, 0) + 1
    statuses = ", ".join(f"{count:,} {status_text(name)}" for name, count in sorted(counts.items()))
    selection = portfolio.selection.text
    subject = (
        "All runs of the ledger" if selection == "at all" else f"The ledger's runs {selection}"
    )
    return (
        f"{subject}: {statuses}. Failed, interrupted and development runs count like any other; "
        "energy counts on the day on which it was used."
    )


def _tiles(portfolio: Portfolio) -> tuple[Tile, ...]:
    facility = portfolio.facility_energy
    headline_figures = [
        (portfolio.energy, f"{portfolio.energy.method}; facilities: {figure_text(facility)}"),
        (portfolio.emissions, portfolio.emissions.method),
        (portfolio.emissions_market, portfolio.emissions_market.method),
        (portfolio.embodied, "a range, apart from the above"),
        (portfolio.final_factor, "energy of all runs over that of final ones"),
    ]
    return tuple(
        Tile(figure.label, figure_text(figure), note, figure.key)
        for figure, note in headline_figures
    )


def _cut(key: str, caption: str, groups: Sequence[Group], portfolio: Portfolio) -> Table:
    total_mj = sum(group.sum.energy_mj for group in groups)
    rows = tuple(_group_row(group, total_mj, portfolio) for group in groups[:MOST_GROUPS])
    omitted = len(groups) - len(rows)
    note = (
        f"{omitted:,} smaller ones are left out here; the workbook has all." if omitted > 0 else ""
    )
    columns = (caption.removeprefix("By ").capitalize(), "Runs", "Energy", "Share", "Method",
               "Emissions")  # fmt: skip
    return Table(f"by-{key}", caption, columns, rows, frozenset({1, 2, 3, 5}), note)


def _group_row(group: Group, total_mj: int, portfolio: Portfolio) -> tuple[str, ...]:
    total = group.sum
    share = total.energy_mj / total_mj if total_mj else None
    sigma = None if total.energy_sigma_mj is None else kwh_from_mj(total.energy_sigma_mj)
    energy = _value_text(kwh_from_mj(total.energy_mj), sigma, "kWh", portfolio.energy)
    kg = _value_text(total.kg, total.kg_sigma, "kgCO2e", portfolio.emissions)
    name = status_text(group.name)
    return (name, f"{group.runs:,}", energy, percent_text(share), total.method, kg)


def _value_text(value: float | None, sigma: float | None, unit: str, like: Figure | None) -> str:
    figure = Figure(
        key="", label="", value=value, unit=unit, method="", sigma=sigma, basis=""
    )  # fmt: skip
    return figure_text(figure, like=like)


def _inventory(portfolio: Portfolio) -> Table:
    rows = []
    for line in portfolio.inventory.lines:
        market = figure_text(line.market) if line.scope.scope == 2 else "does not apply"
        covered = line.covered_kwh
        rows.append((
            line.scope.name, f"{len(line.runs):,}", figure_text(line.energy),
            figure_text(line.location), market,
            f"{number_text(covered)} kWh" if covered else "none",
        ))  # fmt: skip
    columns = (
        "Scope", "Runs", "Electricity", "Location-based", "Market-based", "Covered by instruments",
    )  # fmt: skip
    note = (
        "A contribution to an inventory. Each kWh is in one line only. The embodied share of "
        "accelerators, offsets and savings are in none."
    )
    return Table("inventory", "By scope of the GHG Protocol", columns, tuple(rows),
                 frozenset({1, 2, 3, 4, 5}), note)  # fmt: skip


def _pages(portfolio: Portfolio) -> tuple[Table, ...]:
    lines = sorted(portfolio.lines, key=lambda line: (-line.sum.energy_mj, line.run.run_id))
    lines = lines[:MOST_RUNS]
    pages = []
    for first in range(0, len(lines), PAGE):
        part = lines[first : first + PAGE]
        caption = f"Runs {first + 1:,} to {first + len(part):,} by energy"
        rows = tuple(_run_row(line) for line in part)
        columns = ("Run", "Name", "Project", "User", "Purpose", "Ended", "Started (UTC)", "Energy",
                   "Method", "Emissions")  # fmt: skip
        pages.append(Table(f"runs-{first}", caption, columns, rows, frozenset({7, 9})))
    return tuple(pages)


def _run_row(line: Line) -> tuple[str, ...]:
    run, total = line.run, line.sum
    energy_kwh = kwh_from_mj(total.energy_mj)
    factor, unit = unit_for(energy_kwh, "kWh")
    return (
        run.run_id, run.name or "", run.project, run.user, run.purpose, status_text(run.status),
        time_text(run.started_ns).removesuffix(" UTC"),
        f"{number_text(energy_kwh / factor, 3)} {unit}",
        total.method,
        _value_text(total.kg, 0.0 if total.kg is not None else None, "kgCO2e", None),
    )  # fmt: skip


def _runs_note(portfolio: Portfolio) -> str:
    omitted = len(portfolio.lines) - MOST_RUNS
    if omitted <= 0:
        return ""
    return (
        f"The {MOST_RUNS:,} runs that used most; {omitted:,} more are in the workbook and the JSON "
        "report, and in every total here."
    )


def _proof(portfolio: Portfolio) -> Table:
    rows = (
        ("Runs", f"{len(portfolio.lines):,}"),
        ("SHA-256 over their ids and chain heads", portfolio.digest),
    )
    return Table("proof-table", "Ledger chains", ("What", "Value"), rows)
