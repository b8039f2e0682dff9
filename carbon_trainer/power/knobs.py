"""The settings of a GPU that limit its power through NVML: its power limit, its highest clock."""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from carbon_trainer.errors import CarbonTrainerError

log = logging.getLogger(__name__)

POWER_LIMIT: Final = "power-limit"
CLOCKS: Final = "clocks"


class KnobError(CarbonTrainerError):
    """A knob cannot be set: no permission, not supported, or the device is gone."""

    def __init__(self, message: str, *, forbidden: bool = False) -> None:
        super().__init__(message)
        self.forbidden = forbidden


class Knob(Protocol):
    """One thing of one device that can be set.

    Attributes:
        kind: ``power-limit`` or ``clocks``.
        device: the device's UUID.
        unit: of its values, for people: values are in thousandths of it.
    """

    kind: str
    device: str
    unit: str

    def range(self) -> tuple[int, int]:
        """Return the minimum and maximum that it may be set to."""

    def now(self) -> int | None:
        """Return what it is set to; None where that cannot be read, or nothing is set."""

    def set(self, value: int) -> None:
        """Set it."""

    def put_back(self, original: int | None) -> None:
        """Set it to what it was; to the driver's own choice for None."""


class PowerLimitKnob:
    """A GPU's power management limit, milliwatts. Setting it needs root."""

    kind = POWER_LIMIT
    unit = "W"

    def __init__(self, device: str) -> None:
        self.device = device

    def range(self) -> tuple[int, int]:
        """Return the minimum and maximum limit, milliwatts."""
        minimum, maximum = _call_nvml("nvmlDeviceGetPowerManagementLimitConstraints", self.device)
        return int(minimum), int(maximum)

    def now(self) -> int | None:
        """Return the limit, milliwatts."""
        return int(_call_nvml("nvmlDeviceGetPowerManagementLimit", self.device))

    def set(self, value: int) -> None:
        """Set the limit, milliwatts."""
        _call_nvml("nvmlDeviceSetPowerManagementLimit", self.device, value)

    def put_back(self, original: int | None) -> None:
        """Set the limit to what it was."""
        if original is not None:
            self.set(original)


class ClockKnob:
    """The highest clock of a GPU's multiprocessors, kilohertz.

    NVML does not report whether clocks are locked, so restoring means unlocking them.
    """

    kind = CLOCKS
    unit = "MHz"

    def __init__(self, device: str) -> None:
        self.device = device

    def range(self) -> tuple[int, int]:
        """Return the minimum and maximum clock, kilohertz."""
        import pynvml

        maximum = int(_call_nvml("nvmlDeviceGetMaxClockInfo", self.device, pynvml.NVML_CLOCK_SM))
        return 1000 * maximum // 5, 1000 * maximum

    def now(self) -> int | None:
        """Return None: a lock cannot be read."""
        return None

    def set(self, value: int) -> None:
        """Lock the clock to at most a value, kilohertz; the driver takes the nearest it has."""
        _call_nvml("nvmlDeviceSetGpuLockedClocks", self.device, 0, value // 1000)

    def put_back(self, original: int | None) -> None:
        """Unlock the clock."""
        _call_nvml("nvmlDeviceResetGpuLockedClocks", self.device)


KNOBS: dict[str, type[PowerLimitKnob | ClockKnob]] = {
    POWER_LIMIT: PowerLimitKnob,
    CLOCKS: ClockKnob,
}
"""Each kind of knob by its name, in the order of preference."""


def knob_of(kind: str, device: str) -> Knob:
    """Return a device's knob of a kind."""
    return KNOBS[kind](device)


def _call_nvml(function: str, device: str, *args: Any) -> Any:
    """Call NVML for one device; it is opened and shut down each time, as knobs are set rarely.

    Raises:
        KnobError: if NVML refuses.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise KnobError(f"NVML: {error}") from error
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(device)
        return getattr(pynvml, function)(handle, *args)
    except pynvml.NVMLError as error:
        forbidden = error.value == pynvml.NVML_ERROR_NO_PERMISSION
        raise KnobError(f"NVML: {error}", forbidden=forbidden) from error
    finally:
        _shutdown_nvml()


def _shutdown_nvml() -> None:
    import pynvml

    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        log.debug("nvmlShutdown: %s", error)
