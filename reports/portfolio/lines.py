"""Each run of a portfolio on a line of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from carbon_trainer.reports.figures.figure import MEASURED, UNKNOWN, weakest
from carbon_trainer.reports.figures.scope2 import InstrumentUse, allocate
from carbon_trainer.reports.figures.tallies import CONSIDERABLE
from carbon_trainer.reports.portfolio.cells import Floats, Sum
from carbon_trainer.reports.portfolio.runs import RunFacts


@dataclass(frozen=True, slots=True)
class Line:
    """One run in a portfolio: what it used within the period.

    Attributes:
        run: what is known of it.
        sum: its energy and emissions.
        instruments: what instruments cover of it.
    """

    run: RunFacts
    sum: Sum
    instruments: tuple[InstrumentUse, ...]


def lines_of(runs: Sequence[RunFacts], cells: pd.DataFrame) -> tuple[Line, ...]:
    """Return each run's line; runs are added up all at once, as there may be very many."""
    sums = _sums_by_run(cells, len(runs))
    return tuple(
        Line(run, total, allocate(run.instruments, total.facility_kwh or 0.0))
        for run, total in zip(runs, sums, strict=True)
    )


def _sums_by_run(cells: pd.DataFrame, count: int) -> list[Sum]:
    run = cells["run"].to_numpy(np.int64)

    def per_run(weights: object) -> Floats:
        values = np.asarray(weights, dtype=np.float64)
        return np.asarray(np.bincount(run, weights=values, minlength=count), dtype=np.float64)

    energy = np.zeros(count, dtype=np.int64)
    np.add.at(energy, run, cells["energy_mj"].to_numpy(np.int64))
    facility, kg = per_run(cells["facility_kwh"]), per_run(cells["kg"])
    cost = per_run(cells["facility_kwh"] * cells["price"])
    measured = per_run(cells["energy_mj"].where(cells["method"] == MEASURED, 0))
    unknown = per_run(cells["seconds"].where(cells["method"] == UNKNOWN, 0))
    gain_variance = np.zeros(count)
    kg_variance = np.zeros(count)
    per_mj = cells["kg"] / cells["energy_mj"].where(cells["energy_mj"] != 0)
    for component in cells["component"].unique():
        mask = cells["component"] == component
        gain_variance += per_run((cells["energy_mj"] * cells["gain"]).where(mask, 0)) ** 2
        kg_variance += per_run((cells["kg"] * cells["gain"]).where(mask, 0)) ** 2
    timing = per_run(cells["variance_mj2"])
    kg_timing = per_run(cells["variance_mj2"] * per_mj.fillna(0) ** 2)
    kg_factor = np.zeros(count)
    for zone in cells["zone"].unique():
        mask = cells["zone"] == zone
        kg_factor += per_run((cells["kg"] * cells["factor_sigma"]).where(mask, 0)) ** 2
    methods = _methods_by_run(cells, count)
    sigma, kg_sigma = np.sqrt(gain_variance + timing), np.sqrt(kg_variance + kg_timing + kg_factor)
    return [
        Sum(
            energy_mj=int(energy[number]),
            energy_sigma_mj=_none_if_nan(sigma[number]),
            facility_kwh=_none_if_nan(facility[number]),
            facility_sigma_kwh=None,
            kg=_none_if_nan(kg[number]),
            kg_sigma=_none_if_nan(kg_sigma[number]),
            cost=_none_if_nan(cost[number]),
            method=methods[number],
            measured_share=float(measured[number] / energy[number]) if energy[number] else 0.0,
            unknown_seconds=float(unknown[number]),
        )
        for number in range(count)
    ]


def _methods_by_run(cells: pd.DataFrame, count: int) -> list[str]:
    """The method of each run's weakest considerable part."""
    table = cells.groupby(["run", "method"], observed=True)["energy_mj"].sum()
    by_run: dict[int, dict[str, int]] = {}
    for run, method, energy_mj in table.reset_index().itertuples(index=False):
        by_run.setdefault(int(run), {})[str(method)] = int(energy_mj)
    methods = []
    for number in range(count):
        parts = by_run.get(number, {})
        min_mj = CONSIDERABLE * sum(parts.values())
        methods.append(
            weakest([m for m, mj in parts.items() if mj and mj >= min_mj] or list(parts))
        )
    return methods


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def market_kg(line: Line) -> float:
    """Return a run's market-based emissions, kgCO2e."""
    covered = sum(use.covered_kwh for use in line.instruments)
    facility = line.sum.facility_kwh or 0.0
    uncovered_share = 1 - covered / facility if facility else 1.0
    return sum(use.emissions_kgco2e for use in line.instruments) + uncovered_share * (
        line.sum.kg or 0.0
    )
