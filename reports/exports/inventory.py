"""What a run or a portfolio adds to a GHG inventory, by scope; each kWh in one of them only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbon_trainer.reports.figures.figure import Figure
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.scopes import Scope, scope_of


@dataclass(frozen=True, slots=True)
class InventoryLine:
    """What falls in one scope.

    Attributes:
        scope: which one; one that is not stated is a line of its own, in no scope.
        energy: what the facility drew, kWh.
        location: location-based emissions.
        market: market-based emissions.
        renewable_kwh: of the energy, what instruments of renewable sources cover.
        covered_kwh: what instruments of any source cover.
        runs: whose they are, with the energy of each (kWh).
        zones: grids.
    """

    scope: Scope
    energy: Figure
    location: Figure
    market: Figure
    renewable_kwh: float
    covered_kwh: float
    runs: Mapping[str, float | None]
    zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Contributions to an inventory.

    Attributes:
        title: what they are of.
        start, end: the period, ISO 8601.
        lines: one for each scope that occurs.
        embodied: the accelerators' share by lifetime, in no scope.
        source: chain head of a run, or how many chains a portfolio has.
        organisation: who reports; empty where not stated.
    """

    title: str
    start: str
    end: str
    lines: tuple[InventoryLine, ...]
    embodied: Figure
    source: str
    organisation: str

    def line(self, scope: int, category: int | None = None) -> InventoryLine | None:
        """Return the line of a scope and category."""
        for line in self.lines:
            if (line.scope.scope, line.scope.category) == (scope, category):
                return line
        return None


def inventory_of_run(figures: RunFigures, start: str, end: str) -> Inventory:
    """Return what a run adds."""
    uses = figures.instruments
    line = InventoryLine(
        scope=scope_of(figures.boundary),
        energy=figures.facility_energy,
        location=figures.emissions,
        market=figures.emissions_market,
        renewable_kwh=sum(use.covered_kwh for use in uses if use.is_renewable),
        covered_kwh=sum(use.covered_kwh for use in uses if use.fact.energy_kwh is not None),
        runs={figures.run_id: figures.facility_energy.value},
        zones=tuple(dict.fromkeys(use.fact.zone for use in figures.factors)),
    )
    stated = figures.boundary
    return Inventory(
        title=f"run {figures.run_id}", start=start, end=end, lines=(line,),
        embodied=figures.embodied,
        source=f"record {figures.head.seq}, SHA-256 {figures.head.sha256}",
        organisation=stated.organisation if stated else "",
    )  # fmt: skip
