"""A run's report for machines: every figure with its unit, method, uncertainty and origin."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from carbon_trainer.reports.figures.estimate_comparison import EstimateComparison
from carbon_trainer.reports.figures.factors import FactorUse
from carbon_trainer.reports.figures.plan_comparison import PlanComparison
from carbon_trainer.reports.figures.run_figures import BudgetUse, RunFigures
from carbon_trainer.reports.figures.scope2 import InstrumentUse
from carbon_trainer.reports.figures.scopes import scope_of
from carbon_trainer.reports.figures.tallies import CORRELATION, Tally
from carbon_trainer.reports.figures.text import time_iso
from carbon_trainer.reports.record.segments import Segment

SCHEMA_VERSION = 2
"""Of ``schemas/run-report.schema.json``, which every document fits."""


def run_json(figures: RunFigures) -> str:
    """Write a run's report as JSON, keys sorted; the same figures give the same text."""
    return (
        json.dumps(
            run_document(figures), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False
        )
        + "\n"
    )


def run_document(figures: RunFigures) -> dict[str, Any]:
    """Return a run's report as JSON types."""
    provenance = figures.provenance
    return {
        **_estimate(figures.estimate_comparison),
        "schema_version": SCHEMA_VERSION,
        "kind": "carbon-trainer run report",
        "run": _run(figures),
        "figures": {figure.key: dataclasses.asdict(figure) for figure in figures.all_figures()},
        "energy": _energy(figures),
        "segments": [_segment(segment) for segment in figures.segments],
        "factors": [_factor(use) for use in figures.factors],
        "instruments": [_instrument(use) for use in figures.instruments],
        "boundary": _boundary(figures),
        "outcome": _plan(figures.plan_comparison),
        "corrections": [
            {**dataclasses.asdict(correction), "time": time_iso(correction.time_ns)}
            for correction in figures.corrections
        ],
        "budgets": [_budget(budget) for budget in figures.budgets],
        "corpus": None if provenance.corpus is None else provenance.corpus.body(),
        **({} if provenance.dataset is None else {"dataset": provenance.dataset.body()}),
        "model": None if provenance.model is None else provenance.model.body(),
        "machines": [dataclasses.asdict(machine) for machine in provenance.machines],
        "sources": [dataclasses.asdict(source) for source in provenance.sources],
        "software": provenance.software,
        "config": provenance.config,
        "checkpoints": [dataclasses.asdict(checkpoint) for checkpoint in provenance.checkpoints],
        "gaps": [dataclasses.asdict(gap) for gap in figures.gaps],
        "events": [
            {**dataclasses.asdict(event), "time": time_iso(event.time_ns)}
            for event in figures.events
        ],
        "correlation": CORRELATION,
        "chain": {"seq": figures.head.seq, "sha256": figures.head.sha256},
    }


def _run(figures: RunFigures) -> dict[str, Any]:
    opened = figures.opened
    started_ns = figures.started_ns
    return {
        "id": figures.run_id,
        "name": opened.name if opened else None,
        "project": opened.project if opened else None,
        "entry": opened.entry if opened else None,
        "user": opened.user if opened else None,
        "status": figures.status,
        "open": figures.is_open,
        "reason": figures.reason,
        "started_ns": started_ns,
        "started": None if started_ns is None else time_iso(started_ns),
        "ended_ns": figures.ended_ns,
        "ended": time_iso(figures.ended_ns),
        "records": figures.head.seq,
        "intervals": figures.intervals,
    }


def _energy(figures: RunFigures) -> dict[str, Any]:
    """All in millijoules of the machines, before PUE; each cut adds up to the total exactly."""
    return {
        "total": None if figures.total is None else _tally(figures.total),
        "by_component": [_tally(row) for row in figures.by_component],
        "by_device": [_tally(row) for row in figures.by_device],
        "by_phase": [_tally(row) for row in figures.by_phase],
    }


def _tally(row: Tally) -> dict[str, Any]:
    return {**dataclasses.asdict(row), "recorded_s": row.recorded_s}


def _segment(segment: Segment) -> dict[str, Any]:
    fields = dataclasses.asdict(segment)
    del fields["was_killed"]  # its reason says so
    return {
        **fields,
        "start": time_iso(segment.start_ns),
        "end": time_iso(segment.end_ns),
        "seconds": segment.seconds,
    }


def _factor(use: FactorUse) -> dict[str, Any]:
    return {
        **dataclasses.asdict(use.fact),
        "from_seq": use.seq,
        "energy_mj": use.energy_mj,
        "facility_kwh": use.facility_kwh,
        "emissions_kgco2e": use.emissions_kgco2e,
        "cost": use.cost,
    }


def _instrument(use: InstrumentUse) -> dict[str, Any]:
    return {
        **dataclasses.asdict(use.fact),
        "record": use.seq,
        "covered_kwh": use.covered_kwh,
        "emissions_kgco2e": use.emissions_kgco2e,
    }


def _boundary(figures: RunFigures) -> dict[str, Any]:
    scope = scope_of(figures.boundary)
    stated = None if figures.boundary is None else dataclasses.asdict(figures.boundary)
    return {
        "stated": stated, "scope": scope.scope, "category": scope.category, "name": scope.name,
    }  # fmt: skip


def _plan(comparison: PlanComparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "plan_made": time_iso(comparison.plan_made_ns),
        "planned_finish": time_iso(comparison.planned_finish_ns),
        "counterfactual": comparison.counterfactual,
        "saving": comparison.saving.key,
        "subtracted_from": [],
    }


def _estimate(comparison: EstimateComparison | None) -> dict[str, Any]:
    """Return the part on the estimate, which only runs have that were estimated before."""
    if comparison is None:
        return {}
    quantities = {
        quantity: {
            "estimated": row.estimated.key, "came": row.actual.key, "ratio": row.ratio.key,
            "inside": row.is_inside,
        }
        for quantity, row in (("hours", comparison.hours), ("energy", comparison.energy))
    }  # fmt: skip
    return {
        "estimate": {
            **dataclasses.asdict(comparison.fact),
            "tokens_trained": comparison.tokens,
            "beside": quantities,
        }
    }


def _budget(budget: BudgetUse) -> dict[str, Any]:
    return {
        "setting": budget.setting,
        "limit": budget.limit,
        "unit": budget.unit,
        "used": budget.figure.value,
        "share_used": budget.share,
        "figure": budget.figure.key,
    }
