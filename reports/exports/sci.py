"""Software Carbon Intensity (ISO/IEC 21031:2024) of a run, per token trained.

SCI = (O + M) per R with O = E x I: E what the facility drew, I the location-based intensity, M
the accelerators' embodied share by lifetime, R a token. No instruments, no offsets.
"""

from __future__ import annotations

from typing import Any

from carbon_trainer.reports.exports.convert import grams
from carbon_trainer.reports.exports.documents import json_text, yaml_text
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import time_iso

UNIT = "tokens"


def sci_document(figures: RunFigures) -> dict[str, Any]:
    """Return a run's SCI with what the standard wants disclosed (score, boundary, method)."""
    missing = _missing(figures)
    document: dict[str, Any] = {
        "standard": "ISO/IEC 21031:2024, SCI 1.1; SCI for AI, provider score",
        "run": figures.run_id,
        "functional_unit": "one training token, repeated steps counted once",
        "boundary": "metered accelerators, CPU and memory x PUE; embodied share of accelerators",
        "methodology": {
            "E_kwh": figures.facility_energy.basis,
            "I": figures.emissions.basis,
            "M": figures.embodied.basis,
            "conversion": "1 kgCO2e = 1000 gCO2e",
        },
        "instruments_and_offsets": "none counted, as the standard asks",
        "ledger": {"record": figures.head.seq, "sha256": figures.head.sha256},
    }
    if missing:
        return {**document, "score": None, "missing": missing}
    operational, embodied, tokens = _score_terms(figures)
    document["score"] = {
        "gCO2e_per_token": (operational + embodied) / tokens,
        "gCO2e_per_million_tokens": 1e6 * (operational + embodied) / tokens,
    }
    document["O_gco2e"] = operational
    document["M_gco2e"] = {
        "value": embodied,
        "least": grams(figures.embodied.low or 0.0),
        "most": grams(figures.embodied.high or 0.0),
        "note": "the middle of the range is used",
    }
    document["R_tokens"] = tokens
    return document


def sci(figures: RunFigures) -> str:
    """Write a run's SCI."""
    return json_text(sci_document(figures))


def impact_framework(figures: RunFigures) -> str:
    """Write a manifest for the Green Software Foundation's Impact Framework.

    ``if-run --manifest sci.yaml`` computes the same score from the same inputs.
    """
    inputs = [] if _missing(figures) else [_observation(figures)]
    manifest = {
        "name": f"sci-{figures.run_id}",
        "description": f"SCI of training run {figures.run_id}, per token"
        + ("" if inputs else f"; missing: {'; '.join(_missing(figures))}"),
        "tags": {"kind": "training", "ledger-sha256": figures.head.sha256},
        "initialize": {
            "plugins": {
                "operational": _plugin(
                    "Multiply", ["energy", "grid/carbon-intensity"], "carbon-operational"
                ),
                "total": _plugin("Sum", ["carbon-operational", "carbon-embodied"], "carbon"),
                "sci": {"method": "Sci", "path": "builtin", "config": {"functional-unit": UNIT}},
            }
        },
        "tree": {
            "children": {
                "training": {
                    "pipeline": {"compute": ["operational", "total", "sci"]},
                    "inputs": inputs,
                }
            }
        },
    }
    return yaml_text(manifest)


def _plugin(method: str, inputs: list[str], output: str) -> dict[str, Any]:
    config = {"input-parameters": inputs, "output-parameter": output}
    return {"method": method, "path": "builtin", "config": config}


def _observation(figures: RunFigures) -> dict[str, Any]:
    operational, embodied, tokens = _score_terms(figures)
    energy_kwh = figures.facility_energy.value or 0.0
    return {
        "timestamp": time_iso(figures.started_ns or 0),
        "duration": max(1, round(figures.duration.value or 0)),
        "energy": energy_kwh,
        "grid/carbon-intensity": operational / energy_kwh,
        "carbon-embodied": embodied,
        UNIT: tokens,
    }


def _score_terms(figures: RunFigures) -> tuple[float, float, int]:
    operational = grams(figures.emissions.value or 0.0)
    return operational, grams(figures.embodied.value or 0.0), int(figures.tokens.value or 0)


def _missing(figures: RunFigures) -> list[str]:
    inputs = (figures.facility_energy, figures.emissions, figures.embodied, figures.tokens)
    return [f"{figure.label}: {figure.basis}" for figure in inputs if not figure.value]
