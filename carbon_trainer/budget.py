"""When to stop, so that a budget is never exceeded. Pure arithmetic: no clock, no device."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carbon_trainer.units import mj_from_kwh

if TYPE_CHECKING:
    from carbon_trainer.config import RunConfig
    from carbon_trainer.emissions import EmissionFactor

RECENT_STEPS = 50


@dataclass(frozen=True, slots=True)
class Settled:
    """What a run had used when the present emission factor came into force.

    Attributes:
        energy_mj: the machines' energy, millijoules before PUE.
        emissions_kgco2e: what it has emitted, each part by the factor of its time.
        cost: what it has cost.
    """

    energy_mj: int = 0
    emissions_kgco2e: float = 0.0
    cost: float = 0.0


NOTHING = Settled()


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on what a run may use, in the machines' own energy.

    Attributes:
        limit_mj: the most energy, millijoules before PUE.
        text: the limit as the user gave it: ``0.5 kWh``.
    """

    limit_mj: int
    text: str

    @classmethod
    def tightest(
        cls, config: RunConfig, factor: EmissionFactor, settled: Settled = NOTHING
    ) -> Budget | None:
        """Return the budget that is reached first, or None where none was set.

        All three count what the building draws, so energy times PUE. Under one factor each is a
        limit on energy; when the factor changes, what is left of it is another energy.

        Args:
            config: the budgets.
            factor: the intensity and price from now on.
            settled: what was used before.
        """
        budgets = []
        if config.budget_kwh is not None:
            budgets.append((config.budget_kwh, f"{config.budget_kwh:g} kWh"))
        before_kwh = factor.facility_kwh(settled.energy_mj)
        if config.budget_kgco2e is not None:
            g_per_kwh = factor.intensity.intensity_gco2e_per_kwh
            left_g = 1000 * (config.budget_kgco2e - settled.emissions_kgco2e)
            kwh = before_kwh + left_g / g_per_kwh if g_per_kwh else float("inf")
            budgets.append((kwh, f"{config.budget_kgco2e:g} kgCO2e"))
        if config.budget_cost is not None and factor.price_per_kwh:
            kwh = before_kwh + (config.budget_cost - settled.cost) / factor.price_per_kwh
            budgets.append((kwh, f"{config.budget_cost:g} {config.currency}"))
        finite = [(kwh, text) for kwh, text in budgets if kwh != float("inf")]
        if not finite:
            return None
        kwh, text = min(finite)
        return cls(int(mj_from_kwh(1) * kwh / factor.pue), text)


@dataclass(frozen=True, slots=True)
class Need:
    """What has to fit into a budget before another step is begun, all in millijoules.

    Attributes:
        used_mj: used so far, in the upper estimate.
        next_mj: what happens before the next check: a step, perhaps a validation.
        reserve_mj: the last checkpoint and closing down.
    """

    used_mj: int
    next_mj: int
    reserve_mj: int

    @property
    def total_mj(self) -> int:
        """The energy that the run would have used in the end."""
        return self.used_mj + self.next_mj + self.reserve_mj

    def exceeds(self, budget: Budget) -> bool:
        """Whether going on could exceed the budget."""
        return self.total_mj > budget.limit_mj


class StepForecast:
    """Predicts the next step's energy from the last ones: their largest, for safety."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=RECENT_STEPS)
        self._sum_mj = 0
        self._count = 0

    def observe(self, energy_mj: int) -> None:
        """Learn what one more step has used, millijoules."""
        self._recent.append(energy_mj)
        self._sum_mj += energy_mj
        self._count += 1

    @property
    def next_mj(self) -> int:
        """The most that the next step is expected to use, millijoules."""
        return max(self._recent, default=0)

    @property
    def mean_mj(self) -> float | None:
        """The mean step's energy, millijoules; None before the first."""
        return self._sum_mj / self._count if self._count else None
