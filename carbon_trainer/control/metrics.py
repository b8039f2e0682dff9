"""The figures that trainers' loggers get, names with units; the same in every framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.units import MJ_PER_J, kwh_from_mj

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession


class EnergyMetrics:
    """Energy and power of a run's machines, and what steps and tokens used since the last look."""

    def __init__(self) -> None:
        self._logged: tuple[int, int, int] | None = None

    def of(self, session: RunSession) -> dict[str, float]:
        """Return the machines' energy so far (kWh, before PUE), their power (W), and per step (J).

        What a step and a token used is the mean since the figures before: all energy of that
        time, validations and checkpoints too.
        """
        used_mj = session.used_mj()
        figures = {
            "energy/machines_kwh": kwh_from_mj(used_mj),
            "energy/power_w": session.power_w(),
        }
        before, self._logged = self._logged, (session.step, session.tokens, used_mj)
        if before is not None:
            steps, tokens = session.step - before[0], session.tokens - before[1]
            since_j = (used_mj - before[2]) / MJ_PER_J
            if steps > 0:
                figures["energy/j_per_step"] = since_j / steps
            if tokens > 0:
                figures["energy/j_per_token"] = since_j / tokens
        return figures


def emissions_metrics(session: RunSession) -> dict[str, float]:
    """Return emissions (kgCO2e), the building's energy (kWh), and cost where a price is set."""
    now = session.snapshot()
    figures = {
        "emissions/total_kgco2e": now.emissions_kgco2e,
        "energy/facility_kwh": now.energy_kwh,
    }
    if now.cost is not None:
        figures[f"energy/cost_{session.config.currency.lower()}"] = now.cost
    return figures
