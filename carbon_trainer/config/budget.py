"""What a run may use, and what that costs."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from carbon_trainer.config.base import Positive, Section, setting


class BudgetSettings(Section):
    """Limits of energy, emissions and cost; the price of electricity."""

    title: ClassVar[str] = "Budget"

    budget_kwh: Positive | None = setting(
        None, "Energy limit for the whole run, including resumed segments.", "kWh"
    )
    budget_kgco2e: Positive | None = setting(
        None, "Emissions limit for the whole run, by the grid's carbon intensity.", "kgCO2e"
    )
    budget_cost: Positive | None = setting(
        None, "Cost limit for the energy of the whole run; needs price_per_kwh.", "money"
    )
    price_per_kwh: Positive | None = setting(None, "Price of electricity.", "money/kWh")
    currency: str = setting("EUR", "Currency of the price.", min_length=1, max_length=8)

    @model_validator(mode="after")
    def _check_price(self) -> Self:
        if self.budget_cost is not None and self.price_per_kwh is None:
            raise ValueError("budget_cost needs price_per_kwh: say what a kWh costs")
        return self

    @property
    def has_budget(self) -> bool:
        """Whether any budget was set."""
        return any(b is not None for b in (self.budget_kwh, self.budget_kgco2e, self.budget_cost))
