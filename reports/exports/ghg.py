"""GHG Protocol: scope 2 both ways, scope 3 categories 1 and 8; nothing in two of them."""

from __future__ import annotations

from typing import Any

from carbon_trainer.reports.exports.documents import converted, json_text
from carbon_trainer.reports.exports.inventory import Inventory, InventoryLine

TO_TONNES = 1 / 1000
TO_MWH = 1 / 1000


def ghg_document(inventory: Inventory) -> dict[str, Any]:
    """Return an inventory's lines by scope."""
    return {
        "standard": "GHG Protocol Corporate Standard, Scope 2 Guidance (2015), Scope 3 Standard",
        "of": inventory.title,
        "organisation": inventory.organisation or None,
        "period": {"start": inventory.start, "end": inventory.end},
        "note": "A contribution to an inventory, not the inventory of a company.",
        "scope_2": _scope_2(inventory.line(2)),
        "scope_3": {
            "category_1_purchased_goods_and_services": _scope_3(inventory.line(3, 1)),
            "category_8_upstream_leased_assets": _scope_3(inventory.line(3, 8)),
            "category_2_capital_goods": None,
            "category_2_note": "Bought hardware counts whole in the year of purchase; the "
            "embodied share below is by lifetime and does not go here.",
            "category_3_fuel_and_energy": None,
            "category_3_note": "Losses and upstream of electricity are not computed; life-cycle "
            "factors contain upstream already.",
        },
        "not_stated": _scope_3(next((x for x in inventory.lines if x.scope.scope is None), None)),
        "embodied_share_by_lifetime": {
            **converted(inventory.embodied, TO_TONNES, "tCO2e"),
            "least": _tonnes(inventory.embodied.low), "most": _tonnes(inventory.embodied.high),
        },
        "offsets_and_savings": "none subtracted",
        "source": inventory.source,
    }  # fmt: skip


def ghg(inventory: Inventory) -> str:
    """Write an inventory's lines by scope."""
    return json_text(ghg_document(inventory))


def _tonnes(value: float | None) -> float | None:
    return None if value is None else value * TO_TONNES


def _scope_2(line: InventoryLine | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {
        "electricity": converted(line.energy, TO_MWH, "MWh"),
        "location_based": converted(line.location, TO_TONNES, "tCO2e"),
        "market_based": converted(line.market, TO_TONNES, "tCO2e"),
        "covered_by_instruments_mwh": line.covered_kwh * TO_MWH,
        "zones": list(line.zones),
        "runs": list(line.runs),
    }


def _scope_3(line: InventoryLine | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {
        "electricity_of_the_supplier": converted(line.energy, TO_MWH, "MWh"),
        "emissions": converted(line.location, TO_TONNES, "tCO2e"),
        "zones": list(line.zones),
        "runs": list(line.runs),
    }
