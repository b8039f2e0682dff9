"""When to stop, so that a budget is never exceeded. Pure arithmetic: no clock, no device."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from carbon_trainer.runs.accounting import ZERO, AccruedUsage
from carbon_trainer.units import energy_text, mj_from_kwh

if TYPE_CHECKING:
    from carbon_trainer.config import BudgetSettings, RunConfig
    from carbon_trainer.runs.accounting import EmissionFactor

RECENT_STEPS = 50

CHECKPOINT_BYTES_PER_S = 100e6
"""Speed at which a first checkpoint is expected to be written; later ones were timed."""

BYTES_PER_PARAMETER = 12
"""Weights and AdamW's two moments, in 32 bits each."""

CLOSING_S = 1.0
"""Time from the last checkpoint to the meter's stop, seconds."""


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
        cls, config: BudgetSettings, factor: EmissionFactor, accrued: AccruedUsage = ZERO
    ) -> Budget | None:
        """Return the budget that is reached first, or None where none was set.

        All three count what the building draws, so energy times PUE. Under one factor each is a
        limit on energy; when the factor changes, what is left of it is another energy.

        Args:
            config: the budgets.
            factor: the intensity and price from now on.
            accrued: what was used before.
        """
        budgets = []
        if config.budget_kwh is not None:
            budgets.append((config.budget_kwh, f"{config.budget_kwh:g} kWh"))
        before_kwh = factor.facility_kwh(accrued.energy_mj)
        if config.budget_kgco2e is not None:
            g_per_kwh = factor.intensity.intensity_gco2e_per_kwh
            left_g = 1000 * (config.budget_kgco2e - accrued.emissions_kgco2e)
            kwh = before_kwh + left_g / g_per_kwh if g_per_kwh else float("inf")
            budgets.append((kwh, f"{config.budget_kgco2e:g} kgCO2e"))
        if config.budget_cost is not None and factor.price_per_kwh:
            kwh = before_kwh + (config.budget_cost - accrued.cost) / factor.price_per_kwh
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
    """Predicts the next step's energy from the last ones: their largest, for safety.

    Args:
        recent: how many of the last steps count.
    """

    def __init__(self, recent: int = RECENT_STEPS) -> None:
        self._recent: deque[int] = deque(maxlen=recent)
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


class _Meter(Protocol):
    def peak_power_w(self) -> float: ...


class _Run(Protocol):
    """What a budget has to know of a run; ``RunSession`` is one."""

    checkpoint_s: float
    meter_loss: str | None

    @property
    def config(self) -> RunConfig: ...
    @property
    def meter(self) -> _Meter: ...
    @property
    def factor(self) -> EmissionFactor: ...
    @property
    def accrued(self) -> AccruedUsage: ...
    def used_mj(self, *, upper: bool = False) -> int: ...


class BudgetGuard:
    """Says when a run has to stop so that its budget is never exceeded.

    What was used, in the upper estimate, the next step, a validation if one comes before the next
    check, and the last checkpoint must all fit.

    Args:
        run: the run, with its budgets.
        parameters: the model's, from which the time of a first checkpoint is estimated.
        recent_steps: how many of the last steps the next one is foreseen from.
    """

    def __init__(self, run: _Run, parameters: int, *, recent_steps: int = RECENT_STEPS) -> None:
        self._run = run
        self._checkpoint_s = parameters * BYTES_PER_PARAMETER / CHECKPOINT_BYTES_PER_S
        self._forecast = StepForecast(recent_steps)
        self._learn_limit()
        self._last_used_mj = run.used_mj(upper=True)

    @property
    def next_mj(self) -> int:
        """The most that the next step is expected to use, millijoules."""
        return self._forecast.next_mj

    def begin_step(self) -> None:
        """Count a step from here; what came before, such as a validation, is not a part of it."""
        if self.budget is not None:
            self._last_used_mj = self._run.used_mj(upper=True)

    def end_step(self, *, disturbed: bool = False) -> None:
        """Learn what a step has used, unless something else than the step was in it."""
        if self.budget is None:
            return
        used_mj = self._run.used_mj(upper=True)
        if not disturbed:
            self._forecast.observe(max(0, used_mj - self._last_used_mj))
        self._last_used_mj = used_mj

    @property
    def remaining_need_mj(self) -> int:
        """What a step and the end of the run are expected to use, as far as is known, millijoules.

        Kept in a checkpoint, it lets the next segment know before it has metered anything.
        """
        return self._need(0, self._forecast.next_mj).total_mj

    def reason_not_to_start(self, ahead_mj: int = 0) -> str | None:
        """Say why not even a first step may be done; None where it may.

        Args:
            ahead_mj: what an earlier segment has expected of a step and the end of the run.
        """
        budget = self.budget
        if budget is None or not self._need(self._last_used_mj, ahead_mj).exceeds(budget):
            return None
        return self._reason(budget)

    def reason_to_stop(
        self, validation_mj: int = 0, *, waiting: bool = False, steps_left: bool = True
    ) -> str | None:
        """Say why the run has to stop now; None where it may go on.

        Args:
            validation_mj: what a validation before the next check is expected to use.
            waiting: no step has just ended: energy is looked up.
            steps_left: another step follows; else at most a validation and the last checkpoint.
        """
        if self._run.factor is not self._factor:
            self._learn_limit()
        budget, run = self.budget, self._run
        if budget is None:
            return None
        if run.meter_loss and run.config.on_meter_loss == "stop":
            return f"energy can no longer be known: {run.meter_loss}"
        used_mj = run.used_mj(upper=True) if waiting else self._last_used_mj
        next_mj = validation_mj + (self._forecast.next_mj if steps_left else 0)
        if not self._need(used_mj, next_mj).exceeds(budget):
            return None
        return self._reason(budget, "step" if steps_left else "validation")

    def max_steps(self, limit: int, validation_mj: int) -> int:
        """Return how many steps surely fit, up to ``wanted``, with validation and checkpoint."""
        if self.budget is None or limit <= 1:
            return limit
        need = self._need(self._last_used_mj, validation_mj)
        left_mj = self.budget.limit_mj - need.total_mj
        return max(1, min(limit, int(left_mj / max(1, 2 * self._forecast.next_mj))))

    def left_kwh(self) -> float | None:
        """Return what is left, kWh with PUE; None without a budget."""
        if self.budget is None:
            return None
        return self._run.factor.facility_kwh(self.budget.limit_mj - self._run.used_mj())

    def metrics(self) -> dict[str, float]:
        """Return what is left of the budget: energy of the building (kWh), and its share of 1."""
        left_kwh = self.left_kwh()
        if self.budget is None or left_kwh is None:
            return {}
        limit_kwh = self._run.factor.facility_kwh(self.budget.limit_mj)
        return {"budget/left_kwh": left_kwh, "budget/left_share": left_kwh / limit_kwh}

    def _learn_limit(self) -> None:
        """Emissions and money are other energies under each emission factor."""
        run = self._run
        self._factor = run.factor
        self.budget = Budget.tightest(run.config, run.factor, run.accrued)

    def _need(self, used_mj: int, next_mj: int) -> Need:
        """Keep room for two checkpoints: a periodic one may be saved just before the last."""
        checkpoint_s = max(self._checkpoint_s, 1.5 * self._run.checkpoint_s)
        seconds = 2 * checkpoint_s + CLOSING_S
        reserve_mj = round(self._run.meter.peak_power_w() * seconds * 1000)
        return Need(used_mj, next_mj, reserve_mj)

    def _reason(self, budget: Budget, phase: str = "step") -> str:
        used = energy_text(self._run.factor.facility_kwh(self._run.used_mj()))
        text = f"the budget of {budget.text} is reached"
        return f"{text}: {used} used, and the next {phase} would not fit"
