"""Emission factors, PUE and prices with the energy that was recorded under each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carbon_trainer.ledger.facts import (
    IntensityUsed,
)
from carbon_trainer.reports.figures.figure import (
    Input,
)
from carbon_trainer.reports.figures.tallies import Cell
from carbon_trainer.reports.record.run_record import RunRecord
from carbon_trainer.units import kwh_from_mj

MOST_TERMS = 6


@dataclass(frozen=True, slots=True)
class FactorUse:
    """An emission factor with the energy that was recorded under it.

    Attributes:
        seq: its place in the chain.
        fact: the factor, PUE and price.
        energy_mj: the machines' energy, before PUE.
        facility_kwh: energy times PUE.
        emissions_kgco2e: facility energy times intensity.
        cost: facility energy times price; None without a price.
    """

    seq: int
    fact: IntensityUsed
    energy_mj: int
    facility_kwh: float
    emissions_kgco2e: float
    cost: float | None


def factor_uses(record: RunRecord, cells: Sequence[Cell]) -> tuple[FactorUse, ...]:
    """Split a run's energy by the emission factor in force, in order of the chain."""
    uses = []
    for number, item in enumerate(record.facts_of(IntensityUsed)):
        energy_mj = sum(cell.energy_mj for cell in cells if cell.factor == number)
        fact = item.fact
        facility_kwh = kwh_from_mj(energy_mj) * fact.pue
        kilograms = facility_kwh * fact.intensity_gco2e_per_kwh / 1000
        cost = None if fact.price_per_kwh is None else facility_kwh * fact.price_per_kwh
        uses.append(FactorUse(item.seq, fact, energy_mj, facility_kwh, kilograms, cost))
    return tuple(uses)


def factor_id(fact: IntensityUsed) -> str:
    """Name an emission factor: zone, accounting, vintage."""
    return f"{fact.zone}; {fact.accounting}; {fact.vintage}"


def energy_input(use: FactorUse) -> Input:
    """Return the energy that was recorded under a factor as an input."""
    name = f"energy under record {use.seq}"
    return Input(name=name, value=kwh_from_mj(use.energy_mj), unit="kWh", record=use.seq)


def pue_input(use: FactorUse) -> Input:
    """Return a factor's PUE as an input."""
    return Input(name="PUE", value=use.fact.pue, method=use.fact.pue_method, record=use.seq)


def intensity_input(use: FactorUse) -> Input:
    """Return a factor's intensity as an input."""
    return Input(
        name="intensity", value=use.fact.intensity_gco2e_per_kwh, unit="gCO2e/kWh",
        method=use.fact.method, record=use.seq, factor_id=factor_id(use.fact),
        source=use.fact.source, vintage=use.fact.vintage,
    )  # fmt: skip


def sum_text(texts: Iterable[str]) -> str:
    """Write a sum; of one with very many terms the first ones and how many follow."""
    terms = list(texts)
    suffix = f" + {len(terms) - MOST_TERMS} more terms" if len(terms) > MOST_TERMS else ""
    return " + ".join(terms[:MOST_TERMS]) + suffix
