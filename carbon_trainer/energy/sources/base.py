"""The interface of every source of energy readings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Method(StrEnum):
    """How a figure was obtained. An estimate is never shown as a measurement."""

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
    """One reading of a device.

    Attributes:
        time_ns: when it was valid, nanoseconds since the epoch (UTC).
        energy_mj: the device's own cumulative counter, millijoules; None where it has none.
        power_mw: power, milliwatts; None where the device does not report it.
        latency_ns: how long the call took; the value is of some moment within, ``time_ns`` is the
            middle.
        window_ns: the span over which the power is averaged, ``time_ns`` is the middle.
    """

    time_ns: int
    energy_mj: int | None
    power_mw: int | None
    latency_ns: int = 0
    window_ns: int = 0


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source measures and how accurate it is; recorded in the ledger, so fields stay.

    Attributes:
        name: how the figure is obtained, for people: ``NVML energy counter``.
        component: the part of the machine that it measures.
        device: the device's stable id: a GPU's UUID, ``cpu``, ``ram``.
        label: the device's name for people: ``NVIDIA H100 80GB HBM3``.
        method: measured or estimated.
        refresh_s: how often the figure changes, seconds, as known so far; None if not yet known.
        uncertainty: relative one-sigma error of the sensor's gain or of the model (0.05 is 5 %).
        stepped: whether its counter is constant between refreshes, so that only its changes can be
            dated.
        glances: whether its power can be sampled quickly between refreshes.
        includes_cpu: whether the figure includes the CPU beside it.
        note: what a reader must also know, e.g. that a MIG slice's figure is the whole card's.
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
    """The device does not answer any more; what it uses from now on is unknown."""


class PowerSource(Protocol):
    """Something that reports what one device has used."""

    def open(self) -> None:
        """Prepare for reading; may take seconds and is called in the sampler's thread.

        Raises:
            SourceLostError: if there is nothing to read from.
        """

    def read(self) -> Reading | None:
        """Return the newest reading, or None where there is none yet.

        Raises:
            SourceLostError: if the device is lost.
        """

    def sample_power(self) -> int | None:
        """Return the power at this moment, milliwatts, quickly; None where it is not reported.

        Raises:
            SourceLostError: if the device is lost.
        """

    def describe(self) -> SourceInfo:
        """Return what the source measures; known before ``open``, more precisely after it."""

    def close(self) -> None:
        """Release the device; may be called twice."""
