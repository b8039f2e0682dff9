"""The results of a meter: of a step, a device, a phase, the whole, an interval."""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.curve import EnergyEstimate
from carbon_trainer.energy.sources.base import Component, Method, SourceInfo


@dataclass(frozen=True, slots=True)
class StepEnergy:
    """The energy of one step, all devices together.

    Attributes:
        begin_ns: its first instant.
        end_ns: its last.
        energy_j: joules.
        sigma_j: one sigma of its timing error, joules; each device states its gain error.
        method: measured only if every device's figure is, all of the time; unknown if a device
            was lost, so that its energy is missing.
        measured_j: the part that measuring devices reported, joules.
    """

    begin_ns: int
    end_ns: int
    energy_j: float
    sigma_j: float
    method: Method
    measured_j: float


@dataclass(frozen=True, slots=True)
class DeviceEnergy:
    """The energy of one device, and its uncertainty.

    Attributes:
        info: which device; its ``uncertainty`` is the sensor's gain, relative.
        energy_mj: millijoules.
        sigma_mj: one sigma of the timing error, millijoules.
        measured_s: seconds that the source reported.
        estimated_s: seconds that are extrapolated or bridged.
        unknown_s: seconds of which nothing is known.
    """

    info: SourceInfo
    energy_mj: int
    sigma_mj: float
    measured_s: float
    estimated_s: float
    unknown_s: float

    @property
    def gain_sigma_mj(self) -> float:
        """One sigma of the sensor's or the model's gain, millijoules."""
        return self.energy_mj * self.info.uncertainty


@dataclass(frozen=True, slots=True)
class PhaseEnergy:
    """The energy of all devices in one phase, and its total duration."""

    name: str
    energy_mj: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EnergySummary:
    """The energy from the start until ``end_ns``.

    Attributes:
        begin_ns: when metering started.
        end_ns: when it stopped, or now.
        devices: a row each; empty if there was nothing to read.
        steps: number of steps.
        phases: a row each, in order of first use; they sum to the whole.
    """

    begin_ns: int
    end_ns: int
    devices: tuple[DeviceEnergy, ...]
    steps: int
    phases: tuple[PhaseEnergy, ...] = ()

    @property
    def energy_mj(self) -> int:
        """Energy of all devices, millijoules."""
        return sum(row.energy_mj for row in self.devices)

    @property
    def energy_j(self) -> float:
        """Energy of all devices, joules."""
        return self.energy_mj / 1000

    @property
    def seconds(self) -> float:
        """The metered duration, seconds."""
        return (self.end_ns - self.begin_ns) / NS_PER_S

    def __str__(self) -> str:
        total = f"{self.energy_j:,.1f} J in {self.seconds:,.2f} s, {self.steps:,} steps"
        lines = [_device_line(row) for row in self.devices] or ["nothing could be metered"]
        if len(self.phases) > 1:
            lines += [
                f"{row.name}: {row.energy_mj / 1000:,.1f} J in {row.seconds:,.2f} s"
                for row in self.phases
            ]
        return "\n".join([total, *lines])


@dataclass(frozen=True, slots=True)
class MeteredInterval:
    """The energy of one device between two instants in one phase, by one method."""

    device: str
    component: Component
    start_ns: int
    end_ns: int
    energy_mj: int
    method: Method
    sigma_mj: float
    phase: str
    steps: int


def method_of(part: EnergyEstimate, info: SourceInfo) -> Method:
    """Return how a device's figure over some time was obtained."""
    if part.unknown_s > 0:
        return Method.UNKNOWN
    return Method.ESTIMATED if part.estimated_s > 0 else info.method


def _device_line(row: DeviceEnergy) -> str:
    gain = f"gain ± {row.info.uncertainty:.0%}"
    timing = f"timing ± {row.sigma_mj / 1000:,.1f} J"
    gaps = [
        f"{seconds:,.1f} s {method}"
        for seconds, method in ((row.estimated_s, "estimated"), (row.unknown_s, "unknown"))
        if seconds >= 0.05
    ]
    figure = f"{row.info.label}: {row.energy_mj / 1000:,.1f} J"
    return ", ".join([figure, f"{row.info.method} ({row.info.name})", gain, timing, *gaps])
