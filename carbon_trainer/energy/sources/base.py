"""What every source of energy readings looks like to the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Method(StrEnum):
    """How a figure came to be. An estimate is never shown as a measurement."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    ASSUMED = "assumed"
    UNKNOWN = "unknown"


class Component(StrEnum):
    """The part of a machine that used the energy."""

    GPU = "gpu"
    CPU = "cpu"
    RAM = "ram"


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a device.

    Attributes:
        time_ns: when it was true, nanoseconds since the epoch (UTC).
        energy_mj: the device's own cumulative counter, millijoules; None where it has none.
        power_mw: power, milliwatts; None where the device does not tell.
        took_ns: how long the look took; it was true somewhere within, half before ``time_ns``.
        window_ns: the span whose mean the power is, half before ``time_ns``.
    """

    time_ns: int
    energy_mj: int | None
    power_mw: int | None
    took_ns: int = 0
    window_ns: int = 0


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Who a source is and how far it can be trusted.

    Attributes:
        name: how the figure is made, for people: ``NVML energy counter``.
        component: the part of the machine it speaks of.
        device: the device's stable id: a GPU's UUID, ``cpu``, ``ram``.
        label: the device's name for people: ``NVIDIA H100 80GB HBM3``.
        method: measured or estimated.
        refresh_s: how often the figure changes, seconds, as known so far; None if not yet known.
        uncertainty: relative one-sigma error of the sensor's gain or of the model (0.05 is 5 %).
        stepped: whether its counter stands still between refreshes, so that only its changes tell
            a time.
        glances: whether its power can be looked at quickly between refreshes.
        includes_cpu: whether the CPU beside it is in the figure already.
        note: what a reader must know besides, e.g. that a MIG slice's figure is the whole card's.
    """

    name: str
    component: Component
    device: str
    label: str
    method: Method
    refresh_s: float | None
    uncertainty: float
    stepped: bool = False
    glances: bool = False
    includes_cpu: bool = False
    note: str = ""


class SourceLostError(Exception):
    """The device does not answer any more; what it used from now on is unknown."""


class PowerSource(Protocol):
    """Something that tells what one device has used."""

    def open(self) -> None:
        """Get ready; may take seconds and is called in the sampler's thread.

        Raises:
            SourceLostError: if there is nothing to read from.
        """

    def read(self) -> Reading | None:
        """Return the newest reading, or None where there is none yet.

        Raises:
            SourceLostError: if the device has gone.
        """

    def glance(self) -> int | None:
        """Return the power at this moment, milliwatts, quickly; None where it is not told.

        Raises:
            SourceLostError: if the device has gone.
        """

    def describe(self) -> SourceInfo:
        """Say who this is; known before ``open``, sharper after it."""

    def close(self) -> None:
        """Let go of the device; may be called twice."""
