"""The figures of a portfolio, made from its sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from carbon_trainer.reports.figures.embodied import embodied_of
from carbon_trainer.reports.figures.emissions import mixed_kinds
from carbon_trainer.reports.figures.figure import MEASURED, Figure, Input
from carbon_trainer.reports.figures.text import count_text, number_text
from carbon_trainer.reports.portfolio.cells import CORRELATION, Sum
from carbon_trainer.reports.portfolio.lines import Line, market_kg
from carbon_trainer.reports.portfolio.runs import RunFacts
from carbon_trainer.units import kwh_from_mj


def energy_total(total: Sum) -> Figure:
    """Return the energy of the machines, before PUE."""
    key, label = "energy", "Energy of the machines"
    if total.method == "missing":
        return Figure.missing(key, label, "kWh", "No run has an interval.")
    sigma = None if total.energy_sigma_mj is None else kwh_from_mj(total.energy_sigma_mj)
    basis = (
        f"Sum of all intervals, {total.energy_mj:,} mJ, before PUE; {total.measured_share:.1%} of "
        f"it measured. {CORRELATION}"
    )
    if total.unknown_seconds:
        basis += (
            f" For {number_text(total.unknown_seconds)} device-seconds the energy is unknown and "
            "counts as zero: this is a lower bound."
        )
    return Figure(
        key=key, label=label, value=kwh_from_mj(total.energy_mj), unit="kWh", method=total.method,
        sigma=sigma, basis=basis, formula="sum of the intervals' energy_mj / 3600000000",
        inputs=(Input(name="intervals", value=total.energy_mj, unit="mJ", method=total.method),),
    )  # fmt: skip


def facility_total(total: Sum) -> Figure:
    """Return the energy that the buildings drew."""
    key, label = "facility-energy", "Energy of the facilities"
    if total.facility_kwh is None:
        return Figure.missing(key, label, "kWh", "A run has no PUE, or none has an interval.")
    return Figure(
        key=key, label=label, value=total.facility_kwh, unit="kWh", method=total.method,
        sigma=total.facility_sigma_kwh,
        basis="Each run's energy x the PUE that it was recorded with. PUE is applied once, here.",
        formula="sum of energy x PUE",
    )  # fmt: skip


def emissions_total(cells: pd.DataFrame, total: Sum, key: str, label: str) -> Figure:
    """Return location-based emissions; none where kinds of intensity are mixed."""
    unit = "kgCO2e"
    if total.kg is None:
        return Figure.missing(key, label, unit, "A run has no emission factor, or no interval.")
    kinds = cells.groupby("kind", observed=True)[["energy_mj", "kg"]].sum()
    mixed = mixed_kinds(
        (str(kind), float(row["kg"])) for kind, row in kinds.iterrows() if row["energy_mj"]
    )
    if mixed:
        return Figure.missing(key, label, unit, mixed)
    names = [str(name) for name in kinds.index]
    return Figure(
        key=key, label=label, value=total.kg, unit=unit, method=_with_factor(total.method),
        sigma=total.kg_sigma,
        basis=f"Each interval's energy x PUE x the factor in force ({', '.join(names)}). "
        f"{CORRELATION}",
        formula="sum of energy x PUE x intensity / 1000",
    )  # fmt: skip


def _with_factor(method: str) -> str:
    """A factor is an estimate at best."""
    return "estimated" if method == MEASURED else method


def market_total(lines: Sequence[Line], location: Figure, cells: pd.DataFrame) -> Figure:
    """Return market-based emissions."""
    key, label, unit = "emissions-market", "Emissions (market-based)", "kgCO2e"
    if location.value is None:
        return Figure.missing(key, label, unit, location.basis)
    if any(str(kind).startswith("marginal") for kind in cells["kind"].unique()):
        reason = "The factor is marginal: it is for scheduling and belongs in no inventory."
        return Figure.missing(key, label, unit, reason)
    kilograms = sum(market_kg(line) for line in lines)
    run_count = sum(1 for line in lines if line.instruments)
    basis = (
        f"{count_text(run_count, 'run')} with instruments and their evidence; all else by the "
        "grid's average factor (Scope 2 Guidance, ch. 6)."
        if run_count
        else "Same as location-based: no contractual instruments and no residual mix are on "
        "record, so the grid's average factor stands in (Scope 2 Guidance, ch. 6)."
    )
    sigma = None if location.relative is None else location.relative * kilograms
    return Figure(
        key=key, label=label, value=kilograms, unit=unit, method=location.method, sigma=sigma,
        basis=basis, formula="sum of covered energy x rate / 1000 + the rest's location-based",
        inputs=(Input.from_figure(location),),
    )  # fmt: skip


def cost_total(runs: Sequence[RunFacts], total: Sum) -> Figure | None:
    """Return what the electricity cost; None where no price was ever given."""
    currencies = {
        f.currency for r in runs for f in r.factors.values() if f.price_per_kwh is not None
    }
    if not currencies:
        return None
    key, label, unit = "cost", "Cost of electricity", min(currencies)
    if total.cost is None or len(currencies) > 1:
        reason = (
            "A part of the runs has no price, or one in another currency: there is no single sum."
        )
        return Figure.missing(key, label, unit, reason)
    return Figure(
        key=key, label=label, value=total.cost, unit=unit, method=total.method, sigma=None,
        basis="Facility energy x price as given.", formula="sum of energy x PUE x price",
    )  # fmt: skip


def tokens_total(runs: Sequence[RunFacts]) -> Figure:
    """Return the tokens trained on."""
    counts = [run.tokens for run in runs if run.tokens is not None]
    label = "Tokens"
    if not counts:
        return Figure.missing("tokens", label, "tokens", "No run has any on record.")
    basis = f"Counted in {len(counts):,} of {len(runs):,} runs, over the whole of each."
    return Figure(
        key="tokens", label=label, value=float(sum(counts)), unit="tokens", method=MEASURED,
        sigma=0.0, basis=basis,
    )  # fmt: skip


def lost_total(runs: Sequence[RunFacts]) -> Figure:
    """Return the energy of steps that were repeated."""
    lost_mj = sum(run.lost_mj for run in runs)
    return Figure(
        key="lost-energy", label="Energy of lost work", value=kwh_from_mj(lost_mj), unit="kWh",
        method="estimated" if lost_mj else MEASURED, sigma=None if lost_mj else 0.0,
        basis="Energy since the checkpoint that each resumption continued from, for steps that "
        "were repeated; over the whole of each run. It is part of the energy.",
        formula="sum of lost energy",
    )  # fmt: skip


def final_factor_total(runs: Sequence[RunFacts], cells: pd.DataFrame) -> Figure:
    """Return how much more all runs used than those stated to be final."""
    key, label = "final-factor", "All runs over final runs"
    final = np.array([run.purpose == "final" for run in runs], dtype=bool)
    is_final = final[cells["run"].to_numpy(np.int64)] if len(cells) else np.zeros(0, dtype=bool)
    energy = cells["energy_mj"].to_numpy(np.int64)
    final_mj = int(energy[is_final].sum())
    if not final_mj:
        reason = "No run is stated to be final (--purpose final)."
        return Figure.missing(key, label, "times", reason)
    return Figure(
        key=key, label=label, value=float(energy.sum() / final_mj), unit="times", method=MEASURED,
        sigma=None, basis="Energy of all runs over the energy of runs stated to be final.",
        formula="energy of all / energy of final runs",
    )  # fmt: skip


def embodied_total(runs: Sequence[RunFacts], cells: pd.DataFrame) -> Figure:
    """Return the accelerators' embodied share."""
    boards = cells[cells["component"] == "gpu"]
    seconds = boards.groupby(["run", "device"], observed=True)["seconds"].sum()
    labels = {
        (number, device): label
        for number, run in enumerate(runs)
        for device, label in run.accelerators
    }
    reservations = [
        (labels.get((int(number), str(device)), "") or str(device), float(reserved))
        for number, device, reserved in seconds.reset_index().itertuples(index=False)
    ]
    return embodied_of(reservations)
