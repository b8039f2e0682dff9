"""What a run has used, as energy, emissions and cost."""

from __future__ import annotations

from dataclasses import dataclass

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
