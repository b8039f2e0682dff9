"""Writes exports as text that is the same each time."""

from __future__ import annotations

import json
from typing import Any

import yaml

from carbon_trainer.reports.figures.figure import Figure


def json_text(document: Any) -> str:
    """Write JSON with keys in the order given."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def yaml_text(document: Any) -> str:
    """Write YAML with keys in the order given."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def converted(figure: Figure, factor: float, unit: str) -> dict[str, Any]:
    """Return a figure in another unit, with method, sigma and basis.

    Args:
        figure: the figure.
        factor: what one of its unit is in ``unit``.
        unit: the unit to convert to.
    """
    return {
        "value": None if figure.value is None else figure.value * factor,
        "unit": unit,
        "method": figure.method,
        "one_sigma": None if figure.sigma is None else figure.sigma * factor,
        "basis": figure.basis,
    }
