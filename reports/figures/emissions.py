"""Location-based emissions and the cost of electricity: facility energy times a factor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from carbon_trainer.reports.figures.factors import (
    MOST_TERMS,
    FactorUse,
    energy_input,
    intensity_input,
    pue_input,
    sum_text,
)
from carbon_trainer.reports.figures.figure import (
    Figure,
    Input,
    linear_sum,
    root_sum_square,
    weakest,
)
from carbon_trainer.reports.figures.series import kg_per_mj
from carbon_trainer.reports.figures.tallies import (
    CORRELATION,
    NO_INTERVALS,
    Cell,
    Tally,
    energy_sigma_mj,
)
from carbon_trainer.reports.figures.text import number_text
from carbon_trainer.units import MJ_PER_KWH

_NO_FACTOR = "The ledger has no emission factor (intensity_used) for this run."


def emissions_figure(
    total: Tally | None, cells: Sequence[Cell], uses: Sequence[FactorUse]
) -> Figure:
    """Facility energy times the grid's intensity, each interval by the factor in force."""
    key, label = "emissions", "Emissions (location-based)"
    if total is None or not uses:
        reason = NO_INTERVALS if total is None else _NO_FACTOR
        return Figure.missing(key, label, "kgCO2e", reason)
    mixed = mixed_kinds(
        (use.fact.accounting, use.emissions_kgco2e) for use in uses if use.energy_mj
    )
    if mixed:
        return Figure.missing(key, label, "kgCO2e", mixed)
    from_energy = energy_sigma_mj(cells, lambda cell: kg_per_mj(uses[cell.factor].fact))
    # A zone's factor errs the same way all run long, whatever the hour: its errors add up linearly.
    from_factor = linear_sum(use.emissions_kgco2e * use.fact.uncertainty for use in uses)
    terms = sum_text(_emission_term(use) for use in uses)
    return Figure(
        key=key,
        label=label,
        value=math.fsum(use.emissions_kgco2e for use in uses),
        unit="kgCO2e",
        method=weakest(
            [total.method, *(m for use in uses for m in (use.fact.method, use.fact.pue_method))]
        ),
        sigma=root_sum_square([from_energy, from_factor]),
        basis=f"Facility energy x grid intensity: {terms}. Uncertainty: that of the energy and "
        f"that of the factor ({_factor_uncertainties(uses)}), the factor's fully correlated over "
        "the run, both combined as root sum of squares. "
        f"{CORRELATION}",
        formula="sum of energy x PUE x intensity / 1000",
        inputs=tuple(
            part
            for use in uses
            for part in (energy_input(use), pue_input(use), intensity_input(use))
        ),
    )


def mixed_kinds(parts: Iterable[tuple[str, float]]) -> str:
    """Explain that emissions by different kinds of intensity cannot be added; empty if they can.

    Args:
        parts: kind of accounting and emissions by it (kgCO2e).
    """
    kinds: dict[str, float] = {}
    for kind, kilograms in parts:
        kinds[kind] = kinds.get(kind, 0.0) + kilograms
    if len(kinds) < 2:
        return ""
    listed = ", ".join(f"{number_text(kg)} kgCO2e by {kind}" for kind, kg in sorted(kinds.items()))
    return f"Emissions by different kinds of intensity cannot be added: {listed}."


def _emission_term(use: FactorUse) -> str:
    fact = use.fact
    return (
        f"{use.facility_kwh:.6g} kWh x {fact.intensity_gco2e_per_kwh:g} gCO2e/kWh ({fact.zone}, "
        f"{fact.accounting}, {fact.method}; {fact.source}; vintage {fact.vintage})"
    )


def _factor_uncertainties(uses: Sequence[FactorUse]) -> str:
    statements = [f"± {use.fact.uncertainty:.0%}: {use.fact.uncertainty_basis}" for use in uses]
    return "; ".join(list(dict.fromkeys(statements))[:MOST_TERMS])


def cost_figure(
    total: Tally | None, cells: Sequence[Cell], uses: Sequence[FactorUse]
) -> Figure | None:
    """Facility energy times price; None where no price was ever given."""
    key, label = "cost", "Cost of electricity"
    currencies = sorted({use.fact.currency for use in uses if use.cost is not None})
    if not currencies:
        return None
    if total is None:
        return Figure.missing(key, label, currencies[0], NO_INTERVALS)
    if len(currencies) > 1 or any(use.cost is None and use.energy_mj for use in uses):
        reason = "A part of the run has no price, or one in another currency: it has no single sum."
        return Figure.missing(key, label, currencies[0], reason)

    def price(cell: Cell) -> float:
        fact = uses[cell.factor].fact
        return fact.pue * (fact.price_per_kwh or 0.0) / MJ_PER_KWH

    terms = sum_text(
        f"{use.facility_kwh:.6g} kWh x {use.fact.price_per_kwh:g} {use.fact.currency}/kWh"
        for use in uses
        if use.cost is not None
    )
    return Figure(
        key=key,
        label=label,
        value=math.fsum(use.cost or 0.0 for use in uses),
        unit=currencies[0],
        method=weakest([total.method, *(use.fact.pue_method for use in uses)]),
        sigma=energy_sigma_mj(cells, price),
        basis=f"Facility energy x price as given: {terms}. The price carries no uncertainty.",
        formula="sum of energy x PUE x price",
        inputs=tuple(
            part for use in uses for part in (energy_input(use), pue_input(use), _price_input(use))
        ),
    )


def _price_input(use: FactorUse) -> Input:
    unit = f"{use.fact.currency}/kWh"
    return Input(name="price", value=use.fact.price_per_kwh, unit=unit, method="as given",
                 record=use.seq)  # fmt: skip
