"""ESRS E1-5 and E1-6: what a run or portfolio contributes to a company's datapoints.

Which datapoint takes what stands in ``data/esrs_*.csv``, one table for each edition of the
standard, as paragraphs and names change between editions.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any

from carbon_trainer.reports.exports.convert import megawatt_hours, tonnes
from carbon_trainer.reports.exports.documents import json_text
from carbon_trainer.reports.exports.inventory import Inventory
from carbon_trainer.reports.figures.figure import Figure

MAPPING = "esrs_2023-2772"

Value = tuple[float | None, str, float | None, str]
"""Value, method, one sigma and reason, in the datapoint's unit."""


def esrs_document(inventory: Inventory, mapping: str = MAPPING) -> dict[str, Any]:
    """Return the datapoints that an inventory contributes to.

    Args:
        inventory: what is contributed.
        mapping: the edition's table.
    """
    values = _values(inventory)
    rows = []
    for row in _table(mapping):
        value, method, sigma, basis = values[row["quantity"]]
        rows.append(
            {
                "datapoint": row["datapoint"],
                "paragraph": row["paragraph"],
                "name": row["name"],
                "xbrl_element": row["xbrl_element"] or None,
                "value": value,
                "unit": row["unit"],
                "method": method,
                "one_sigma": sigma,
                "basis": basis,
            }
        )
    return {
        "standard": "ESRS E1, Delegated Regulation (EU) 2023/2772",
        "mapping": mapping,
        "mapping_note": "Numbers and names follow this edition; later amendments renumber them.",
        "of": inventory.title,
        "organisation": inventory.organisation or None,
        "period": {"start": inventory.start, "end": inventory.end},
        "note": "Contributions to a company's datapoints, never the datapoints themselves.",
        "contributions": rows,
        "source": inventory.source,
    }


def esrs(inventory: Inventory) -> str:
    """Write the datapoints that an inventory contributes to."""
    return json_text(esrs_document(inventory))


def _table(mapping: str) -> list[dict[str, str]]:
    table = files("carbon_trainer.reports.exports").joinpath(f"data/{mapping}.csv")
    return list(csv.DictReader(table.read_text("utf-8").splitlines()))


def _values(inventory: Inventory) -> dict[str, Value]:
    own_operations = inventory.line(2)
    none_stated: Value = (0.0, "measured", 0.0, "Nothing of this is stated to be own operations.")
    unstated = any(line.scope.scope is None for line in inventory.lines)
    if unstated and own_operations is None:
        basis = "Whose machines it was on is not stated."
        none_stated = (None, "missing", None, basis)
    if own_operations is None:
        energy = location = market = renewable = other_sources = none_stated
    else:
        energy = _converted(own_operations.energy, megawatt_hours)
        location, market = (
            _converted(own_operations.location, tonnes),
            _converted(own_operations.market, tonnes),
        )
        basis = (
            "Covered by instruments of renewable sources, with evidence; a grid's mix counts as "
            "none (ESRS E1 AR 32)."
        )
        renewable = (
            megawatt_hours(own_operations.renewable_kwh),
            own_operations.energy.method,
            None,
            basis,
        )
        basis = "Instruments do not say of which source the rest of the electricity is."
        other_sources = (None, "missing", None, basis)
    return {
        "own_energy": energy, "own_fossil": other_sources, "own_nuclear": other_sources,
        "own_renewable": renewable, "scope_2_location": location, "scope_2_market": market,
        "scope_3": _scope_3(inventory), "share_renewable": _share(inventory),
    }  # fmt: skip


def _converted(figure: Figure, convert: Any) -> Value:
    value = None if figure.value is None else convert(figure.value)
    sigma = None if figure.sigma is None else convert(figure.sigma)
    return value, figure.method, sigma, figure.basis


def _scope_3(inventory: Inventory) -> Value:
    lines = [line for line in inventory.lines if line.scope.scope == 3]
    if not lines:
        unstated = any(line.scope.scope is None for line in inventory.lines)
        if unstated:
            return None, "missing", None, "Whose machines it was on is not stated."
        return 0.0, "measured", 0.0, "Nothing of this is stated to be bought or leased."
    if any(line.location.value is None for line in lines):
        missing = next(line.location for line in lines if line.location.value is None)
        return None, "missing", None, missing.basis
    value = sum(line.location.value or 0.0 for line in lines)
    sigma = None
    if all(line.location.sigma is not None for line in lines):
        # By other factors and meters maybe, but not shown to be independent: added up.
        sigma = tonnes(sum(line.location.sigma or 0.0 for line in lines))
    names = "; ".join(line.scope.name for line in lines)
    return tonnes(value), lines[0].location.method, sigma, names


def _share(inventory: Inventory) -> Value:
    own_operations = inventory.line(2)
    if own_operations is None or not own_operations.energy.value:
        return None, "missing", None, "There is no energy of own operations to take a share of."
    share = 100 * own_operations.renewable_kwh / own_operations.energy.value
    return (
        share,
        own_operations.energy.method,
        None,
        "Renewable energy over energy of own operations.",
    )
