"""NVML read directly, beside the meter: what its figures are compared with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.sources.nvml_sensors import instant_mw, is_module

COUNTER_LOOK_S = 0.003
POWER_LOOK_S = 0.02
"""Between two looks, seconds: the meter under test asks the same driver."""

TRACE_SUFFIX = ".trace.npz"

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]


class Sensors:
    """What one GPU's driver reports, asked directly.

    Args:
        uuid: the GPU's.
    """

    def __init__(self, uuid: str) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def counter_mj(self) -> int | None:
        """Return the energy counter, millijoules; None where there is none."""
        return self._asked(self._nvml.nvmlDeviceGetTotalEnergyConsumption)

    def power_mw(self) -> int | None:
        """Return ``nvmlDeviceGetPowerUsage``, milliwatts."""
        return self._asked(self._nvml.nvmlDeviceGetPowerUsage)

    def instant_mw(self) -> int | None:
        """Return field 186 of the GPU, its power at this moment, milliwatts."""
        return self._asked(instant_mw)

    def module_mw(self) -> int | None:
        """Return field 186 of the module that the GPU is part of, milliwatts."""
        scope = self._nvml.NVML_POWER_SCOPE_MODULE
        return self._asked(lambda handle: instant_mw(handle, scope))

    def is_module(self) -> bool:
        """Say whether the GPU shares a module with a CPU."""
        return is_module(self._handle)

    def _asked(self, ask: Callable[[Any], int]) -> int | None:
        try:
            return int(ask(self._handle))
        except self._nvml.NVMLError:
            return None


@dataclass(frozen=True, slots=True)
class Watched:
    """A sensor's changes.

    Attributes:
        times_ns: when each was seen, in the middle of the look that saw it.
        values: what it showed from then on.
        looks_s: what each look cost, seconds.
    """

    times_ns: Int64
    values: Int64
    looks_s: Floats

    @property
    def refresh_s(self) -> float | None:
        """The median time between changes, seconds; None where there were too few."""
        gaps = np.diff(self.times_ns)
        return float(np.median(gaps)) / NS_PER_S if len(gaps) >= 4 else None


def watch(ask: Callable[[], int | None], seconds: float, look_s: float = 0.0) -> Watched:
    """Look at a sensor over and over, and keep its changes.

    Args:
        ask: reads it.
        seconds: for how long.
        look_s: how long to wait between two looks, seconds.
    """
    log = _Log()
    until_ns = time.time_ns() + round(seconds * NS_PER_S)
    while time.time_ns() < until_ns:
        log.look(ask)
        if look_s:
            time.sleep(look_s)
    return log.watched()


@dataclass(slots=True)
class _Log:
    times_ns: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    looks_s: list[float] = field(default_factory=list)

    def look(self, ask: Callable[[], int | None]) -> None:
        before_ns = time.time_ns()
        value = ask()
        after_ns = time.time_ns()
        self.looks_s.append((after_ns - before_ns) / NS_PER_S)
        if value is not None and (not self.values or value != self.values[-1]):
            self.times_ns.append((before_ns + after_ns) // 2)
            self.values.append(value)

    def watched(self) -> Watched:
        return Watched(
            np.array(self.times_ns, np.int64),
            np.array(self.values, np.int64),
            np.array(self.looks_s, np.float64),
        )


class Recorder:
    """Looks at counter and powers in threads of its own, while something else is measured.

    Used as a context; the figures are there once it has ended.
    """

    def __init__(self, sensors: Sensors) -> None:
        self._sensors = sensors
        self._done = threading.Event()
        self._counter = _Log()
        self._power = _Log()
        self._instant = _Log()
        self._threads = [
            threading.Thread(target=self._follow_counter, name="counter", daemon=True),
            threading.Thread(target=self._follow_power, name="power", daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    @property
    def counter(self) -> Watched:
        """The counter's changes, millijoules."""
        return self._counter.watched()

    @property
    def power(self) -> Watched:
        """The changes of ``nvmlDeviceGetPowerUsage``, milliwatts."""
        return self._power.watched()

    @property
    def instant(self) -> Watched:
        """The changes of field 186, milliwatts."""
        return self._instant.watched()

    def save(self, folder: Path, name: str, **more: Int64) -> None:
        """Keep what was seen, for a closer look.

        Args:
            folder: where.
            name: of the file, without its suffix.
            more: instants of what was done meanwhile, nanoseconds.
        """
        seen = {"counter_mj": self.counter, "power_mw": self.power, "instant_mw": self.instant}
        columns = {f"{key}_at_ns": one.times_ns for key, one in seen.items()}
        columns |= {key: one.values for key, one in seen.items()}
        save: Any = np.savez_compressed  # its stub takes no arrays by name beside its own arguments
        save(folder / f"{name}{TRACE_SUFFIX}", **columns, **more)

    def _follow_counter(self) -> None:
        while not self._done.wait(COUNTER_LOOK_S):
            self._counter.look(self._sensors.counter_mj)

    def _follow_power(self) -> None:
        while not self._done.wait(POWER_LOOK_S):
            self._power.look(self._sensors.power_mw)
            self._instant.look(self._sensors.instant_mw)


def counted_j(counter: Watched, begin_ns: int, end_ns: int) -> tuple[float, float] | None:
    """Return the energy between two instants by a counter's changes, and its uncertainty, joules.

    Between two changes it is taken to grow evenly, so that what is uncertain is how much of a
    refresh at either end lies within: at most half of the refresh's energy.
    """
    times_ns, values = counter.times_ns, counter.values
    if len(times_ns) < 3 or times_ns[0] > begin_ns or times_ns[-1] < end_ns:
        return None
    at = np.interp([begin_ns, end_ns], times_ns, values)
    places = np.clip(np.searchsorted(times_ns, [begin_ns, end_ns]), 1, len(values) - 1)
    steps_mj = np.diff(values)[places - 1]
    # Evenly distributed over the refresh: its sigma is the width over the root of twelve.
    sigma_mj = float(np.sqrt(np.sum((steps_mj / np.sqrt(12)) ** 2)))
    return float(at[1] - at[0]) / 1000, sigma_mj / 1000


def integrated_j(power: Watched, begin_ns: int, end_ns: int) -> float | None:
    """Return the energy between two instants by power, held from each change to the next."""
    times_ns, values = power.times_ns, power.values
    if not len(times_ns) or times_ns[0] > begin_ns:
        return None
    within = (times_ns > begin_ns) & (times_ns < end_ns)
    edges = np.concatenate([[begin_ns], times_ns[within], [end_ns]])
    first = np.searchsorted(times_ns, begin_ns, "right") - 1
    held_mw = np.concatenate([[values[first]], values[within]])
    return float(np.sum(held_mw * np.diff(edges))) / 1e3 / NS_PER_S
