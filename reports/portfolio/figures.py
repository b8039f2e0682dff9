"""All figures of a portfolio: totals, cuts, months, and each run's line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.exports.inventory import Inventory, InventoryLine
from carbon_trainer.reports.figures.figure import Figure
from carbon_trainer.reports.figures.scopes import scope_of
from carbon_trainer.reports.figures.text import count_text, number_text
from carbon_trainer.reports.portfolio.cells import CORRELATION, Sum, add_up, cells_of
from carbon_trainer.reports.portfolio.lines import Line, lines_of
from carbon_trainer.reports.portfolio.runs import NOT_STATED, RunFacts, runs_of
from carbon_trainer.reports.portfolio.selection import Selection
from carbon_trainer.reports.portfolio.totals import (
    cost_total,
    embodied_total,
    emissions_total,
    energy_total,
    facility_total,
    final_factor_total,
    lost_total,
    market_total,
    tokens_total,
)
from carbon_trainer.reports.record.segments import OPEN


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that agree in something: how many, and what they used."""

    name: str
    runs: int
    sum: Sum


@dataclass(frozen=True)
class Portfolio:
    """Many runs, counted up; nothing in it depends on when or where that is done.

    Attributes:
        selection: which runs, in which period.
        lines: the runs, oldest first.
        digest: SHA-256 over every run's id and chain head.
        energy, facility_energy, emissions, emissions_market, embodied, cost, tokens: totals.
        final_factor: energy of all runs over that of final ones.
        cuts: the same energy cut by project, user, purpose, outcome, component, zone, month.
        kinds: emissions by kind of factor.
        inventory: by scope.
        gaps: what the record lacks.
    """

    selection: Selection
    lines: tuple[Line, ...]
    digest: str
    started_ns: int
    ended_ns: int
    energy: Figure
    facility_energy: Figure
    emissions: Figure
    emissions_market: Figure
    embodied: Figure
    cost: Figure | None
    tokens: Figure
    lost_energy: Figure
    final_factor: Figure
    cuts: dict[str, tuple[Group, ...]]
    kinds: tuple[Group, ...]
    inventory: Inventory
    gaps: tuple[str, ...]
    correlation: str = CORRELATION

    def all_figures(self) -> Iterator[Figure]:
        """Yield every figure once, the important ones first."""
        yield from (self.energy, self.facility_energy, self.emissions, self.emissions_market)
        yield from (self.embodied, self.lost_energy, self.final_factor, self.tokens)
        if self.cost is not None:
            yield self.cost


def portfolio_of(ledger: Ledger, selection: Selection) -> Portfolio:
    """Count up the selected runs of a ledger.

    Args:
        ledger: where they are.
        selection: which, in which period.

    Raises:
        InputError: if there is no such run.
        LedgerError: if the ledger cannot be read.
    """
    runs = [run for run in runs_of(ledger) if selection.matches(run)]
    cells = cells_of(ledger, runs)
    cells = cells[selection.days(cells["day"].to_numpy())].reset_index(drop=True)
    if selection.has_period:
        # A run without energy in the period is in it by its start.
        with_energy = set(cells["run"].tolist())
        selected = [
            number
            for number, run in enumerate(runs)
            if number in with_energy or selection.starts_in(run)
        ]
        renumber = {old: new for new, old in enumerate(selected)}
        runs = [runs[number] for number in selected]
        cells["run"] = cells["run"].map(renumber)
    if not runs:
        raise InputError(
            f"the ledger {ledger.name} has no run {selection.text}; `carbon-train runs list` shows "
            "the ones it has."
        )
    return _count_up(selection, runs, cells)


def _count_up(selection: Selection, runs: Sequence[RunFacts], cells: pd.DataFrame) -> Portfolio:
    lines = lines_of(runs, cells)
    total = add_up(cells)
    emissions = emissions_total(cells, total, "emissions", "Emissions (location-based)")
    started_ns, ended_ns = min(r.started_ns for r in runs), max(r.ended_ns for r in runs)
    period = selection.period_or(started_ns, ended_ns)
    digest = hashlib.sha256()
    # By id: the order of runs that started at the same time must not change the digest.
    for run in sorted(runs, key=lambda run: run.run_id):
        digest.update(f"{run.run_id} {run.head.seq} {run.head.sha256}\n".encode())
    source = f"{count_text(len(runs), 'chain')}, SHA-256 of their heads {digest.hexdigest()}"
    embodied = embodied_total(runs, cells)
    return Portfolio(
        selection=selection,
        lines=lines,
        digest=digest.hexdigest(),
        started_ns=started_ns,
        ended_ns=ended_ns,
        energy=energy_total(total),
        facility_energy=facility_total(total),
        emissions=emissions,
        emissions_market=market_total(lines, emissions, cells),
        embodied=embodied,
        cost=cost_total(runs, total),
        tokens=tokens_total(runs),
        lost_energy=lost_total(runs),
        final_factor=final_factor_total(runs, cells),
        cuts=_cuts(runs, cells),
        kinds=_groups(cells, _kind_names(runs, cells)),
        inventory=_inventory(runs, lines, cells, period, embodied, source),
        gaps=tuple(_gaps(runs, total)),
    )


def _cuts(runs: Sequence[RunFacts], cells: pd.DataFrame) -> dict[str, tuple[Group, ...]]:
    by_run: dict[str, Callable[[RunFacts], str]] = {
        "project": lambda run: run.project,
        "user": lambda run: run.user,
        "purpose": lambda run: run.purpose,
        "outcome": lambda run: run.status,
        "zone": lambda run: ", ".join(run.zones) or NOT_STATED,
    }
    cuts = {
        name: _groups(cells, _of_runs(runs, cells, key), runs, key) for name, key in by_run.items()
    }
    cuts["component"] = _groups(cells, cells["component"].astype(str))
    months = cells["day"].to_numpy(np.int64).astype("datetime64[D]").astype("datetime64[M]")
    cuts["month"] = tuple(
        sorted(_groups(cells, pd.Series(months.astype(str))), key=lambda group: group.name)
    )
    return cuts


def _of_runs(
    runs: Sequence[RunFacts], cells: pd.DataFrame, key: Callable[[RunFacts], str]
) -> pd.Series[str]:
    names = np.array([key(run) for run in runs], dtype=object)
    return pd.Series(names[cells["run"].to_numpy(np.int64)], index=cells.index)


def _kind_names(runs: Sequence[RunFacts], cells: pd.DataFrame) -> pd.Series[str]:
    return cells["kind"].astype(str)


def _groups(
    cells: pd.DataFrame, names: pd.Series[str], runs: Sequence[RunFacts] = (),
    key: Callable[[RunFacts], str] | None = None,
) -> tuple[Group, ...]:  # fmt: skip
    """Add up cells by name, the largest first; runs without energy count where ``key`` is given."""
    counts: dict[str, int] = {}
    if key is not None:
        for run in runs:
            counts[key(run)] = counts.get(key(run), 0) + 1
    groups = []
    for name, rows in cells.groupby(names.to_numpy(), sort=True).indices.items():
        part = cells.iloc[rows]
        count = counts.pop(str(name), None) or int(part["run"].nunique())
        groups.append(Group(str(name), count, add_up(part)))
    empty = cells.iloc[:0]
    groups += [Group(name, count, add_up(empty)) for name, count in sorted(counts.items())]
    return tuple(sorted(groups, key=lambda group: (-group.sum.energy_mj, group.name)))


def _inventory(
    runs: Sequence[RunFacts], lines: Sequence[Line], cells: pd.DataFrame,
    period: tuple[str, str], embodied: Figure, source: str,
) -> Inventory:  # fmt: skip
    inventory_lines = []
    operations = [run.boundary.operation if run.boundary else "" for run in runs]
    for operation in ("own", "cloud", "colocation", ""):
        run_numbers = [number for number, name in enumerate(operations) if name == operation]
        if not run_numbers:
            continue
        part = cells[cells["run"].isin(run_numbers)].reset_index(drop=True)
        scope_lines = [lines[number] for number in run_numbers]
        total = add_up(part)
        location = emissions_total(part, total, "emissions", "Emissions (location-based)")
        uses = [use for line in scope_lines for use in line.instruments]
        inventory_lines.append(
            InventoryLine(
                scope=scope_of(runs[run_numbers[0]].boundary),
                energy=facility_total(total),
                location=location,
                market=market_total(scope_lines, location, part),
                renewable_kwh=sum(use.covered_kwh for use in uses if use.is_renewable),
                covered_kwh=sum(u.covered_kwh for u in uses if u.fact.energy_kwh is not None),
                runs={line.run.run_id: line.sum.facility_kwh for line in scope_lines},
                zones=tuple(sorted({zone for line in scope_lines for zone in line.run.zones})),
            )
        )
    names = sorted({r.boundary.organisation for r in runs if r.boundary} - {""})
    return Inventory(
        title=count_text(len(runs), "run"), start=period[0], end=period[1],
        lines=tuple(inventory_lines), embodied=embodied, source=source,
        organisation=", ".join(names),
    )  # fmt: skip


def _gaps(runs: Sequence[RunFacts], total: Sum) -> Iterator[str]:
    gap_text = partial(_gap_text, runs)
    yield from gap_text(lambda run: run.status == OPEN, "still open: their figures may grow")
    yield from gap_text(lambda run: not run.factors, "without an emission factor")
    yield from gap_text(
        lambda run: "world" in run.zones, "without a zone: the world's average is assumed"
    )
    yield from gap_text(
        lambda run: run.gaps > 0, "with a gap in the record, named in their reports"
    )
    yield from gap_text(
        lambda run: run.boundary is None,
        "for which it is not stated whose machines they were on: they are in no scope",
    )
    if total.unknown_seconds:
        yield f"{number_text(total.unknown_seconds)} device-seconds of unknown energy count as zero"


def _gap_text(
    runs: Sequence[RunFacts], has_gap: Callable[[RunFacts], bool], description: str
) -> Iterator[str]:
    run_ids = [run.run_id for run in runs if has_gap(run)]
    if run_ids:
        suffix = f" and {len(run_ids) - 3:,} more" if len(run_ids) > 3 else ""
        yield f"{count_text(len(run_ids), 'run')} {description} ({', '.join(run_ids[:3])}{suffix})"
