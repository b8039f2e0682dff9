"""A plan: what the job does from slot to slot, what that emits, and how near the best it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.grid.series import iso
from carbon_trainer.planning.problem import Mode, PowerSetting


@dataclass(frozen=True, slots=True)
class PlanSlot:
    """A span in which the job does one thing at one intensity.

    Attributes:
        start_ns: its start, nanoseconds since the epoch.
        end_ns: its end.
        mode: what the job does.
        power_setting: the setting that it runs at; None where it does not run.
        power_w: what it draws, watts; 0 in a restart, whose energy is in `energy_kwh`.
        work_hours: the work that it does, hours at speed 1.
        energy_kwh: what it uses.
        emissions_gco2e: what that emits.
        cost: what that costs; 0 where no price is known.
    """

    start_ns: int
    end_ns: int
    mode: Mode
    power_setting: PowerSetting | None
    power_w: float
    work_hours: float
    energy_kwh: float
    emissions_gco2e: float
    cost: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule from now to completion.

    Attributes:
        policy: the policy that made it: ``optimal``, ``run now``, …
        slots: in order, without gaps; none after completion.
        power_settings: the problem's settings, in the problem's order.
        objective: what was minimized, in its own unit.
        lower_bound: no plan has a lower objective; None where that is not known.
        lower_bound_gco2e: the same for emissions, where they alone were minimized.
        solve_ms: time to find it, milliseconds.
        notes: what was repaired or could not be kept, a sentence each.
    """

    policy: str
    slots: tuple[PlanSlot, ...]
    power_settings: tuple[PowerSetting, ...]
    objective: float
    lower_bound: float | None = None
    lower_bound_gco2e: float | None = None
    solve_ms: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def emissions_gco2e(self) -> float:
        """What it emits, grams of CO2 equivalent."""
        return sum(slot.emissions_gco2e for slot in self.slots)

    @property
    def energy_kwh(self) -> float:
        """What it uses, kilowatt hours."""
        return sum(slot.energy_kwh for slot in self.slots)

    @property
    def cost(self) -> float:
        """What it costs; 0 where no price is known."""
        return sum(slot.cost for slot in self.slots)

    @property
    def work_hours(self) -> float:
        """The work that it does, hours at speed 1."""
        return sum(slot.work_hours for slot in self.slots)

    @property
    def finish_ns(self) -> int:
        """When the work is done."""
        return self.slots[-1].end_ns

    @property
    def resumes(self) -> int:
        """How often the job resumes after idling."""
        idle = (Mode.PAUSE, Mode.RELEASE)
        pairs = zip(self.slots, self.slots[1:], strict=False)
        return sum(a.mode in idle and b.mode not in idle for a, b in pairs)

    @property
    def gap(self) -> float | None:
        """How far above the bound it is, relative."""
        if self.lower_bound is None:
            return None
        if self.lower_bound <= 0:
            return 0.0 if self.objective <= 0 else float("inf")
        return max(0.0, self.objective / self.lower_bound - 1)

    def at(self, time_ns: int) -> PlanSlot:
        """Return the slot of an instant; the first or last for one outside."""
        for slot in self.slots:
            if time_ns < slot.end_ns:
                return slot
        return self.slots[-1]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, times in ISO 8601 UTC."""
        return {
            "policy": self.policy,
            "slots": [_slot_json(slot, self.power_settings) for slot in self.slots],
            "emissions_gco2e": self.emissions_gco2e,
            "lower_bound_gco2e": self.lower_bound_gco2e,
            "objective": self.objective,
            "lower_bound": self.lower_bound,
            "energy_kwh": self.energy_kwh,
            "cost": self.cost,
            "resumes": self.resumes,
            "finish": iso(self.finish_ns),
            "solve_ms": self.solve_ms,
            "notes": list(self.notes),
        }


class InfeasibleError(CarbonTrainerError):
    """No plan keeps the deadline or the budget; the message says what would make one possible."""

    exit_status = 4


def _slot_json(slot: PlanSlot, settings: Sequence[PowerSetting]) -> dict[str, Any]:
    setting = None if slot.power_setting is None else settings.index(slot.power_setting)
    return {
        "start": iso(slot.start_ns),
        "end": iso(slot.end_ns),
        "mode": slot.mode.value,
        "level": setting,
        "power_w": slot.power_w,
        "work_hours": slot.work_hours,
        "energy_kwh": slot.energy_kwh,
        "emissions_gco2e": slot.emissions_gco2e,
    }
