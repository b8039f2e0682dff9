"""Emissions that a plan expected, compared with the actual ones, and what the plan has saved.

A saving is reported apart: it is relative to a case that did not happen, and is never subtracted
from emissions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from carbon_trainer.ledger.facts import Decision, IntensityUsed
from carbon_trainer.reports.figures.factors import FactorUse
from carbon_trainer.reports.figures.figure import ESTIMATED, Figure, Input
from carbon_trainer.reports.figures.series import EnergySeries
from carbon_trainer.reports.figures.text import duration_text, number_text, time_text
from carbon_trainer.reports.record.run_record import RunRecord

PLAN = "plan"
"""The name of the decision that records the first plan."""


@dataclass(frozen=True, slots=True)
class PlanComparison:
    """A plan, compared with the run since the plan was made.

    Attributes:
        plan_made_ns: when the plan was made.
        planned: emissions that it expected.
        actual: emissions since then.
        at_once: emissions that running at once would have had.
        saving: the difference of the two.
        planned_finish_ns: when it expected to be finished.
        counterfactual: what the saving is relative to, a sentence.
    """

    plan_made_ns: int
    planned: Figure
    actual: Figure
    at_once: Figure
    saving: Figure
    planned_finish_ns: int
    counterfactual: str

    def figures(self) -> tuple[Figure, ...]:
        """Return all of its figures."""
        return self.planned, self.actual, self.at_once, self.saving


def plan_comparison_of(
    record: RunRecord, series: EnergySeries | None, uses: Sequence[FactorUse], emissions: Figure
) -> PlanComparison | None:
    """Compare the run's first plan with the run; None where it had no plan."""
    plans = [item for item in record.facts_of(Decision) if item.fact.decision == PLAN]
    if not plans or series is None or emissions.value is None or not uses:
        return None
    seq, plan = plans[0].seq, plans[0].fact.figures
    plan_made_ns = int(plan["made_ns"])
    before_kg = _emitted_until(series, plan_made_ns)
    planned = _figure(
        "planned-emissions",
        "Emissions expected by the plan",
        float(plan["planned_kgco2e"]),
        seq,
        "By the plan's powers and the forecast that it was made with.",
    )
    actual = _figure(
        "emissions-since-plan",
        "Emissions since the plan was made",
        emissions.value - before_kg,
        seq,
        "Emissions less those until the plan was made.",
        emissions.relative,
    )
    at_once_kg, intensity_text = _at_once_kg(record, plan, uses)
    at_once_s = (int(plan["at_once_finish_ns"]) - int(plan["at_once_start_ns"])) / 1e9
    counterfactual = (
        f"the same work started at {time_text(int(plan['at_once_start_ns']))} without waiting, at "
        f"full power ({number_text(float(plan['at_once_kwh']))} kWh in "
        f"{duration_text(at_once_s)}), {intensity_text}"
    )
    at_once = _figure(
        "at-once-emissions",
        "Emissions of running at once",
        at_once_kg,
        seq,
        f"Did not happen: {counterfactual}.",
    )
    saving = Figure(
        key="saving", label="Saving against running at once",
        value=at_once_kg - (actual.value or 0), unit="kgCO2e", method=ESTIMATED, sigma=None,
        basis=f"Emissions of {counterfactual}, less what was emitted since. An estimate: one of "
        "the two did not happen. It is subtracted from nothing.",
        formula="emissions of running at once - emissions since the plan was made",
        inputs=(Input.from_figure(at_once), Input.from_figure(actual)),
    )  # fmt: skip
    finish_ns = int(plan["planned_finish_ns"])
    return PlanComparison(plan_made_ns, planned, actual, at_once, saving, finish_ns, counterfactual)


def _figure(
    key: str, label: str, value: float, seq: int, basis: str, relative: float | None = None
) -> Figure:
    sigma = None if relative is None else abs(value) * relative
    inputs = (Input(name="plan", value="", record=seq),)
    return Figure(
        key=key, label=label, value=value, unit="kgCO2e", method=ESTIMATED, sigma=sigma,
        basis=basis, inputs=inputs,
    )  # fmt: skip


def _emitted_until(series: EnergySeries, time_ns: int) -> float:
    if series.emissions_kgco2e is None:
        return 0.0
    at_s = series.timeline.recorded(np.array([time_ns], dtype=np.int64))[0] / 1e9
    return float(np.interp(at_s, series.edges_s, series.emissions_kgco2e))


def _at_once_kg(
    record: RunRecord, plan: dict[str, float], uses: Sequence[FactorUse]
) -> tuple[float, str]:
    """Spread the energy of running at once over the intensities that were recorded since.

    Where they do not reach to two hours before its end, the forecast that the plan was made with
    stands in: a mean over a part of the hours would be that of other weather.
    """
    start_ns, end_ns = int(plan["at_once_start_ns"]), int(plan["at_once_finish_ns"])
    stamps = [item.time_ns for item in record.facts_of(IntensityUsed)]
    last_ns = max(stamps, default=0)
    if len(stamps) < 2 or end_ns <= start_ns or last_ns < end_ns - 2 * 3600 * 10**9:
        return float(plan["at_once_kgco2e"]), "at the intensities that were forecast"
    edges = np.clip(np.array([*stamps[1:], end_ns], dtype=np.int64), start_ns, end_ns)
    starts = np.clip(np.append(start_ns, edges[:-1]), start_ns, end_ns)
    values = np.array([use.fact.intensity_gco2e_per_kwh for use in uses])
    mean = float(np.sum((edges - starts) * values) / (end_ns - start_ns))
    kilograms = float(plan["at_once_kwh"]) * mean / 1000
    return kilograms, "at the intensities that were recorded for those hours"
