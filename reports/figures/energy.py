"""Energy of the machines and of the facility, how much of it was measured, and what was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from carbon_trainer.reports.figures.factors import (
    FactorUse,
    energy_input,
    pue_input,
    sum_text,
)
from carbon_trainer.reports.figures.figure import (
    ESTIMATED,
    MEASURED,
    Figure,
    Input,
    weakest,
)
from carbon_trainer.reports.figures.tallies import (
    CORRELATION,
    NO_INTERVALS,
    Cell,
    Tally,
    energy_sigma_mj,
    unknown_seconds,
)
from carbon_trainer.reports.figures.text import component_text, number_text, slug
from carbon_trainer.reports.record.segments import Segment
from carbon_trainer.units import MJ_PER_KWH, kwh_from_mj


def energy_figure(row: Tally, sources: Sequence[str], *, key: str, label: str) -> Figure:
    """The machines' energy of a component or of all, before PUE."""
    parts = ", ".join(
        f"{method} {energy_mj:,} mJ" for method, energy_mj in row.energy_by_method_mj.items()
    )
    basis = (
        f"Sum of the energy of all intervals ({parts}) = {row.energy_mj:,} mJ; "
        f"1 kWh = {MJ_PER_KWH:,} mJ. Before PUE."
    )
    if sources:
        basis += f" Sources: {'; '.join(sources)}."
    if unknown_seconds(row):
        basis += (
            f" For {number_text(unknown_seconds(row))} device-seconds the energy is unknown and "
            "counts as zero: this is a lower bound."
        )
    if row.sigma_mj is None:
        basis += " Uncertainty missing: a device has no described source."
    elif row.component:
        basis += " Uncertainty: the sources' gain error, added up, and the intervals' timing error."
    else:
        basis += f" {CORRELATION}"
    sigma = None if row.sigma_mj is None else kwh_from_mj(row.sigma_mj)
    inputs = tuple(
        Input(name=f"intervals, {method}", value=energy_mj, unit="mJ", method=method)
        for method, energy_mj in row.energy_by_method_mj.items()
    )
    return Figure(
        key=key, label=label, value=kwh_from_mj(row.energy_mj), unit="kWh", method=row.method,
        sigma=sigma, basis=basis, formula=f"sum of the intervals' energy_mj / {MJ_PER_KWH}",
        inputs=inputs,
    )  # fmt: skip


def component_figure(row: Tally, sources: Sequence[str]) -> Figure:
    """The energy of one component."""
    label = f"{component_text(row.name)} energy"
    return energy_figure(row, sources, key=f"energy-{slug(row.name)}", label=label)


def total_figure(row: Tally | None, sources: Sequence[str]) -> Figure:
    """The machines' energy, all components."""
    if row is None:
        return Figure.missing("energy", "Energy of the machines", "kWh", NO_INTERVALS)
    return energy_figure(row, sources, key="energy", label="Energy of the machines")


def facility_figure(
    total: Tally | None, cells: Sequence[Cell], uses: Sequence[FactorUse]
) -> Figure:
    """Energy times PUE, which is applied here and nowhere else."""
    key, label = "facility-energy", "Energy of the facility"
    if total is None or not uses:
        reason = NO_INTERVALS if total is None else "The ledger has no PUE for this run."
        return Figure.missing(key, label, "kWh", reason)
    sigma = energy_sigma_mj(cells, lambda cell: uses[cell.factor].fact.pue)
    pues = sum_text(
        f"{kwh_from_mj(use.energy_mj):.6g} kWh x PUE {use.fact.pue:g} ({use.fact.pue_method})"
        for use in uses
    )
    return Figure(
        key=key,
        label=label,
        value=math.fsum(use.facility_kwh for use in uses),
        unit="kWh",
        method=weakest([total.method, *(use.fact.pue_method for use in uses)]),
        sigma=None if sigma is None else kwh_from_mj(sigma),
        basis=f"Energy of the machines x PUE: {pues}. PUE is applied once, here. The ledger gives "
        "no uncertainty for the PUE, so only that of the energy is included.",
        formula="sum of energy x PUE",
        inputs=tuple(part for use in uses for part in (energy_input(use), pue_input(use))),
    )


def coverage_figure(total: Tally | None) -> Figure:
    """The share of the devices' time in segments for which energy was measured."""
    key, label, unit = "coverage", "Time measured", "%"
    total_s = 0.0 if total is None else total.recorded_s + total.unrecorded_s
    if total is None or not total_s:
        return Figure.missing(key, label, unit, NO_INTERVALS)
    measured_s = total.seconds_by_method.get(MEASURED, 0.0)
    basis = (
        f"{number_text(measured_s)} of {number_text(total_s)} device-seconds have measured "
        f"intervals; {number_text(total.recorded_s - measured_s)} are estimated, assumed or "
        f"unknown, {number_text(total.unrecorded_s)} have none."
    )
    inputs = tuple(
        Input(name=f"device time, {method}", value=seconds, unit="s", method=method)
        for method, seconds in total.seconds_by_method.items()
    )
    return replace(
        Figure.exact(key, label, 100 * measured_s / total_s, unit, basis),
        formula="100 x measured / (recorded + not recorded)",
        inputs=(*inputs, Input(name="not recorded", value=total.unrecorded_s, unit="s")),
    )


def lost_figure(segments: Sequence[Segment]) -> Figure:
    """Energy of steps that a later segment repeated, as each resumption records it."""
    lost_mj = sum(segment.lost_mj for segment in segments)
    repeated_steps = sum(segment.repeated_steps for segment in segments)
    basis = (
        f"Energy since the checkpoint that each resumption continued from; {repeated_steps:,} "
        "steps were repeated. It is part of the energy of the machines."
    )
    inputs = tuple(
        Input(name=f"lost before segment {s.number}", value=s.lost_mj, unit="mJ")
        for s in segments
        if s.lost_mj
    )
    return replace(
        Figure.exact("lost-energy", "Energy of lost work", kwh_from_mj(lost_mj), "kWh", basis),
        method=ESTIMATED if lost_mj else MEASURED, sigma=None if lost_mj else 0.0,
        formula="sum of lost energy", inputs=inputs,
    )  # fmt: skip
