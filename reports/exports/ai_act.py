"""EU AI Act: Annex XI section 1, point 2 (d) and (e), as rows of the GPAI documentation form.

The form (Code of Practice, Transparency chapter, 10 July 2025) asks for energy in MWh and compute
in FLOP, both with two significant figures at least, and defines no boundary; ours is stated.
"""

from __future__ import annotations

from typing import Any

from carbon_trainer.reports.exports.convert import megawatt_hours, significant
from carbon_trainer.reports.exports.documents import json_text
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import duration_text, number_text, percent_text

_RANGES = ((30.4, "less than 1 month"), (91.3, "1 to 3 months"), (182.6, "3 to 6 months"))


def ai_act_document(figures: RunFigures) -> dict[str, Any]:
    """Return the form's rows."""
    rows = [
        _row("Model name", _model_name(figures), "", "header"),
        _row("Total parameters", _parameters(figures), "parameters", "header"),
        _row("Amount of computation used for training", _compute(figures), "FLOP", "2(d)"),
        _row("Methodology for the computation", figures.training_compute.basis, "", "2(d)"),
        _row("Training time, range", _range(figures), "", "2(d)"),
        _row("Training time, wall clock", _days(figures), "days", "2(d)"),
        _hardware_days(figures),
        _row("Amount of energy used for training", _energy(figures), "MWh", "2(e)"),
        _row("Measured or estimated", figures.facility_energy.method, "", "2(e)"),
        _row("Methodology for the energy", _methodology(figures), "", "2(e)"),
    ]
    return {
        "form": "GPAI Code of Practice, Model Documentation Form, 10 July 2025",
        "law": "Regulation (EU) 2024/1689, Annex XI, section 1, point 2",
        "run": figures.run_id,
        "rows": rows,
        "recipients": "energy, compute and time: AI Office and national authorities on request",
        "ledger": {"record": figures.head.seq, "sha256": figures.head.sha256},
    }


def ai_act(figures: RunFigures) -> str:
    """Write the form's rows."""
    return json_text(ai_act_document(figures))


def _row(name: str, value: str | None, unit: str, point: str) -> dict[str, Any]:
    answer = "N/A" if value is None else value
    return {"point": point, "item": name, "value": answer, "unit": unit}


def _model_name(figures: RunFigures) -> str | None:
    model = figures.provenance.model
    return None if model is None else f"{model.name} ({model.architecture})"


def _parameters(figures: RunFigures) -> str | None:
    model = figures.provenance.model
    return None if model is None else significant(float(model.parameters), 3)


def _compute(figures: RunFigures) -> str | None:
    value = figures.training_compute.value
    return None if value is None else f"{value:.1e}"


def _energy(figures: RunFigures) -> str | None:
    value = figures.facility_energy.value
    return None if value is None else significant(megawatt_hours(value), 3)


def _days(figures: RunFigures) -> str | None:
    seconds = figures.duration.value
    return None if seconds is None else significant(seconds / 86_400)


def _hardware_days(figures: RunFigures) -> dict[str, Any]:
    boards = [row for row in figures.by_device if row.component == "gpu"]
    rows = boards or [row for row in figures.by_device if row.component == "cpu"]
    seconds = sum(row.recorded_s + row.unrecorded_s for row in rows)
    days = significant(seconds / 86_400) if rows else None
    unit = "accelerator-days" if boards else "machine-days, without accelerators"
    return _row("Training time, hardware", days, unit, "2(d)")


def _range(figures: RunFigures) -> str | None:
    seconds = figures.duration.value
    if seconds is None:
        return None
    days = seconds / 86_400
    return next((name for max_days, name in _RANGES if days < max_days), "more than 6 months")


def _methodology(figures: RunFigures) -> str:
    """About a hundred words on how the energy is known."""
    facility = figures.facility_energy
    if facility.value is None:
        return f"N/A: {facility.basis}"
    shares = "; ".join(
        f"{row.name.upper()} {percent_text(row.energy_mj / max(1, figures.total.energy_mj))} "
        f"({row.method})"
        for row in figures.by_component
        if figures.total is not None
    )
    coverage = figures.coverage.value or 0.0
    sigma = "missing" if facility.relative is None else percent_text(2 * facility.relative)
    pues = ", ".join(dict.fromkeys(f"{use.fact.pue:g}" for use in figures.factors)) or "missing"
    return (
        f"Energy of this run, failed and repeated steps included, other runs excluded: {shares}. "
        f"{number_text(coverage, 3)} % of device time is measured by the devices' own energy "
        f"counters or power readings, the rest estimated. The sum of all devices is multiplied by "
        f"a PUE of {pues}. Fans, power supplies, network and storage are included only as far as "
        f"the PUE has them. Two standard deviations are {sigma}. Active time "
        f"{duration_text(figures.active_time.value or 0.0)} in {len(figures.segments)} segments. "
        f"Each figure can be recomputed from a hash-chained record."
    )
