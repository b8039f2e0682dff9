"""What a run has used, as energy, emissions and cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from carbon_trainer.grid.intensity import Intensity
from carbon_trainer.units import kwh_from_mj


@dataclass(frozen=True, slots=True)
class EmissionFactor:
    """What turns a run's energy into emissions and cost.

    Attributes:
        intensity: the grid's carbon intensity.
        pue: power usage effectiveness, facility energy over IT energy (ISO/IEC 30134-2); applied
            here and in reports, never to energy records.
        price_per_kwh: price of a facility kilowatt hour; None where not given.
    """

    intensity: Intensity
    pue: float = 1.0
    price_per_kwh: float | None = None

    def facility_kwh(self, energy_mj: float) -> float:
        """Turn the machines' energy (mJ) into what the building drew for it (kWh)."""
        return kwh_from_mj(energy_mj) * self.pue

    def emissions_kgco2e(self, energy_mj: float) -> float:
        """Return emissions for the machines' energy (mJ): energy x PUE x intensity."""
        return self.facility_kwh(energy_mj) * self.intensity.intensity_gco2e_per_kwh / 1000

    def cost(self, energy_mj: float) -> float | None:
        """Return the price of the machines' energy (mJ), or None where no price was given."""
        return (
            None
            if self.price_per_kwh is None
            else self.facility_kwh(energy_mj) * self.price_per_kwh
        )


@dataclass(frozen=True, slots=True)
class AccruedUsage:
    """What a run had used when the present emission factor came into force.

    Attributes:
        energy_mj: the machines' energy, millijoules before PUE.
        emissions_kgco2e: what it has emitted, each part by the factor of its time.
        cost: what it has cost.
    """

    energy_mj: int = 0
    emissions_kgco2e: float = 0.0
    cost: float = 0.0


ZERO = AccruedUsage()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a run has used until now, all of its segments together, for display.

    Attributes:
        energy_mj: the machines' energy, millijoules.
        energy_kwh: what the building drew: the machines' energy times PUE.
        emissions_kgco2e: by the zone's factor.
        cost: None where no price was given.
        power_w: the machines' present power.
    """

    energy_mj: int
    energy_kwh: float
    emissions_kgco2e: float
    cost: float | None
    power_w: float


class Accounting:
    """Turns a run's energy into emissions and cost, each part by the factor of its time.

    Args:
        factor: the factor that is in force at first.
    """

    def __init__(self, factor: EmissionFactor) -> None:
        # One object, so that a reader in another thread never sees half of a change.
        self._state = ZERO, factor

    @property
    def factor(self) -> EmissionFactor:
        """What turns energy into emissions and cost at present."""
        return self._state[1]

    @property
    def accrued(self) -> AccruedUsage:
        """What had been used when the present factor came into force."""
        return self._state[0]

    def snapshot(self, used_mj: int, power_w: float) -> Snapshot:
        """Return what a run has used.

        Args:
            used_mj: the machines' energy until now, millijoules.
            power_w: their present power.
        """
        accrued, factor = self._state
        since_mj = used_mj - accrued.energy_mj
        cost = factor.cost(since_mj)
        return Snapshot(
            energy_mj=used_mj,
            energy_kwh=factor.facility_kwh(used_mj),
            emissions_kgco2e=accrued.emissions_kgco2e + factor.emissions_kgco2e(since_mj),
            cost=None if cost is None else accrued.cost + cost,
            power_w=power_w,
        )

    def change_intensity(self, intensity: Intensity, used: Snapshot) -> None:
        """Account what is used from now on by another intensity.

        Args:
            intensity: the grid's, from now on.
            used: what was used until now, which keeps the intensity of its own time.
        """
        accrued = AccruedUsage(used.energy_mj, used.emissions_kgco2e, used.cost or 0.0)
        self._state = accrued, dataclasses.replace(self.factor, intensity=intensity)

    def take_earlier(
        self, energy_by_intensity: Iterable[tuple[Mapping[str, Any], int]], energy_mj: int
    ) -> None:
        """Take what earlier segments have used.

        Args:
            energy_by_intensity: facts of intensities, each with the energy (mJ) of its time.
            energy_mj: all their energy, millijoules; what no fact accounts for takes the present
                factor.
        """
        factor, emitted_kg, cost, accounted_mj = self.factor, 0.0, 0.0, 0
        for fact, part_mj in energy_by_intensity:
            kwh = kwh_from_mj(part_mj) * float(fact["pue"])
            emitted_kg += kwh * float(fact["intensity_gco2e_per_kwh"]) / 1000
            cost += kwh * float(fact["price_per_kwh"] or 0.0)
            accounted_mj += part_mj
        rest_mj = energy_mj - accounted_mj
        emitted_kg += factor.emissions_kgco2e(rest_mj)
        cost += factor.cost(rest_mj) or 0.0
        self._state = AccruedUsage(energy_mj, emitted_kg, cost), factor
