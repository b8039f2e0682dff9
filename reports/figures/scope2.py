"""Emissions of the electricity by the instruments that were bought for it (market-based).

GHG Protocol Scope 2 Guidance (2015): location-based and market-based totals stand side by side;
an instrument counts with its evidence only (ch. 7, Quality Criteria); what no instrument covers
takes the residual mix, else the grid's average (ch. 6, hierarchy of factors).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carbon_trainer.ledger.facts import InstrumentHeld
from carbon_trainer.reports.figures.figure import Figure, Input, root_sum_square, weakest
from carbon_trainer.reports.figures.text import number_text
from carbon_trainer.reports.record.run_record import RunRecord

RESIDUAL = "residual mix"
RENEWABLE = ("wind", "solar", "hydro", "geothermal", "biomass", "marine")


@dataclass(frozen=True, slots=True)
class InstrumentUse:
    """An instrument with the part of the run's electricity that it covers.

    Attributes:
        seq: its place in the chain.
        fact: its evidence.
        covered_kwh: of the facility's energy.
        emissions_kgco2e: of that part.
    """

    seq: int
    fact: InstrumentHeld
    covered_kwh: float
    emissions_kgco2e: float

    @property
    def is_renewable(self) -> bool:
        """Whether it says that it is of a renewable source."""
        return self.fact.source.casefold() in RENEWABLE


def instrument_uses(record: RunRecord, facility: Figure) -> tuple[InstrumentUse, ...]:
    """Lay instruments over a run's electricity in the order of their records, then the mix."""
    instruments = [(item.seq, item.fact) for item in record.facts_of(InstrumentHeld)]
    return allocate(instruments, facility.value or 0.0)


def allocate(
    instruments: Iterable[tuple[int, InstrumentHeld]], facility_kwh: float
) -> tuple[InstrumentUse, ...]:
    """Lay instruments (with their records' numbers) over some electricity."""
    remaining_kwh = facility_kwh
    uses = []
    # Stable, so instruments keep the order of their records; the residual mix takes what is left.
    for seq, fact in sorted(instruments, key=lambda numbered: numbered[1].instrument == RESIDUAL):
        limit_kwh = math.inf if fact.energy_kwh is None else fact.energy_kwh
        covered_kwh = min(remaining_kwh, limit_kwh)
        remaining_kwh -= covered_kwh
        kilograms = covered_kwh * fact.rate_gco2e_per_kwh / 1000
        uses.append(InstrumentUse(seq, fact, covered_kwh, kilograms))
    return tuple(uses)


def market_figure(
    location: Figure, facility: Figure, uses: Sequence[InstrumentUse], *, marginal: bool
) -> Figure:
    """The market-based total; without any instrument it equals the location-based one.

    Args:
        location: the location-based figure.
        facility: the energy that both are of.
        uses: instruments and residual mix.
        marginal: whether the location-based figure is by a marginal factor, which no inventory
            takes.
    """
    key, label = "emissions-market", "Emissions (market-based)"
    if facility.value is None or location.value is None:
        return Figure.missing(key, label, "kgCO2e", location.basis or facility.basis)
    if marginal:
        reason = "The factor is marginal: it is for scheduling and belongs in no inventory."
        return Figure.missing(key, label, "kgCO2e", reason)
    covered_kwh = math.fsum(use.covered_kwh for use in uses)
    uncovered_share = 1 - covered_kwh / facility.value if facility.value else 0.0
    uncovered_kg = location.value * uncovered_share
    if not uses:
        basis = (
            "Same as location-based: no contractual instruments and no residual mix are on record, "
            "so the grid's average factor stands in (Scope 2 Guidance, ch. 6)."
        )
    else:
        terms = " + ".join(_term(use) for use in uses)
        basis = (
            f"Instruments with evidence: {terms}; the rest, {uncovered_share:.1%} of the energy, "
            "by the grid's average factor. Instruments carry no uncertainty of their own."
        )
    sigma_covered_kg = None
    if facility.relative is not None:
        sigma_covered_kg = facility.relative * math.fsum(use.emissions_kgco2e for use in uses)
    sigma_uncovered_kg = None if location.relative is None else location.relative * uncovered_kg
    return Figure(
        key=key, label=label, value=math.fsum([*(u.emissions_kgco2e for u in uses), uncovered_kg]),
        unit="kgCO2e", method=weakest([location.method, facility.method]) if uncovered_share > 0
        else facility.method,
        sigma=root_sum_square([sigma_covered_kg, sigma_uncovered_kg]), basis=basis,
        formula="sum of covered energy x rate / 1000 + share left x location-based emissions",
        inputs=(
            *(part for use in uses for part in _inputs(use)), Input.from_figure(facility),
            Input(name="share left", value=uncovered_share), Input.from_figure(location),
        ),
    )  # fmt: skip


def _term(use: InstrumentUse) -> str:
    fact = use.fact
    return (
        f"{number_text(use.covered_kwh)} kWh x {number_text(fact.rate_gco2e_per_kwh)} gCO2e/kWh "
        f"({fact.instrument} {fact.serial} of {fact.registry}, vintage {fact.vintage}, "
        f"{fact.market})"
    )


def _inputs(use: InstrumentUse) -> tuple[Input, Input]:
    fact = use.fact
    return (
        Input(name="covered energy", value=use.covered_kwh, unit="kWh", record=use.seq),
        Input(
            name="rate", value=fact.rate_gco2e_per_kwh, unit="gCO2e/kWh", method="as given",
            record=use.seq, factor_id=f"{fact.registry}; {fact.serial}", source=fact.instrument,
            vintage=fact.vintage,
        ),
    )  # fmt: skip
