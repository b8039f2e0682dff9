"""A portfolio for machines: every figure, cut, run and line of the inventory as JSON types."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from carbon_trainer.reports.figures.text import time_iso
from carbon_trainer.reports.portfolio.figures import Group, Portfolio
from carbon_trainer.reports.portfolio.lines import Line, market_kg
from carbon_trainer.units import kwh_from_mj

SCHEMA_VERSION = 1
"""Of ``schemas/portfolio.schema.json``, which every document fits."""


def portfolio_json(portfolio: Portfolio) -> str:
    """Write a portfolio as JSON, keys sorted; the same figures give the same text."""
    document = portfolio_document(portfolio)
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def portfolio_document(portfolio: Portfolio) -> dict[str, Any]:
    """Return a portfolio as JSON types."""
    selection = portfolio.selection
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "carbon-trainer portfolio",
        "selection": {
            "project": selection.project, "user": selection.user, "purpose": selection.purpose,
            "status": selection.status, "zone": selection.zone,
            "first_day": None if selection.first is None else selection.first.isoformat(),
            "last_day": None if selection.last is None else selection.last.isoformat(),
        },
        "period": {"start": portfolio.inventory.start, "end": portfolio.inventory.end},
        "runs": len(portfolio.lines),
        "figures": {figure.key: dataclasses.asdict(figure) for figure in portfolio.all_figures()},
        "cuts": {name: [_group(group) for group in groups]
                 for name, groups in portfolio.cuts.items()},
        "kinds_of_intensity": [_group(group) for group in portfolio.kinds],
        "inventory": [
            {
                "scope": line.scope.scope, "category": line.scope.category,
                "name": line.scope.name, "runs": len(line.runs),
                "facility_kwh": line.energy.value,
                "location_based_kgco2e": line.location.value,
                "market_based_kgco2e": line.market.value,
                "covered_kwh": line.covered_kwh, "renewable_kwh": line.renewable_kwh,
            }
            for line in portfolio.inventory.lines
        ],
        "lines": [run_row(line) for line in portfolio.lines],
        "gaps": list(portfolio.gaps),
        "correlation": portfolio.correlation,
        "heads_sha256": portfolio.digest,
    }  # fmt: skip


def run_row(line: Line) -> dict[str, Any]:
    """Return a run's line."""
    run, total = line.run, line.sum
    return {
        "run": run.run_id, "name": run.name, "project": run.project, "user": run.user,
        "purpose": run.purpose, "status": run.status, "started": time_iso(run.started_ns),
        "ended": time_iso(run.ended_ns), "zones": ", ".join(run.zones),
        "operation": run.boundary.operation if run.boundary else None,
        "energy_kwh": kwh_from_mj(total.energy_mj),
        "energy_sigma_kwh": _kwh(total.energy_sigma_mj),
        "method": total.method, "measured_share": total.measured_share,
        "facility_kwh": total.facility_kwh,
        "location_based_kgco2e": total.kg, "location_based_sigma_kgco2e": total.kg_sigma,
        "market_based_kgco2e": None if total.kg is None else market_kg(line),
        "steps": run.steps, "tokens": run.tokens, "parameters": run.parameters,
        "lost_kwh": kwh_from_mj(run.lost_mj), "gaps": run.gaps, "corrections": run.corrections,
        "record": run.head.seq, "sha256": run.head.sha256,
    }  # fmt: skip


def group_row(group: Group) -> dict[str, Any]:
    """Return a group's sums."""
    total = group.sum
    return {
        "name": group.name, "runs": group.runs, "energy_mj": total.energy_mj,
        "energy_kwh": kwh_from_mj(total.energy_mj),
        "energy_sigma_kwh": _kwh(total.energy_sigma_mj), "method": total.method,
        "facility_kwh": total.facility_kwh, "location_based_kgco2e": total.kg,
        "location_based_sigma_kgco2e": total.kg_sigma,
    }  # fmt: skip


_group = group_row


def _kwh(millijoules: float | None) -> float | None:
    return None if millijoules is None else kwh_from_mj(millijoules)
