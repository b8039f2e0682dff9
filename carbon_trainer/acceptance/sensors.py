"""Reads NVML directly, for figures to compare the meter's with."""

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

COUNTER_INTERVAL_S = 0.003
POWER_INTERVAL_S = 0.02
"""Between two reads, seconds: the meter under test reads from the same driver."""

TRACE_SUFFIX = ".trace.npz"

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]


class Sensors:
    """The sensors of one GPU, read from its driver.

    Args:
        uuid: the GPU's UUID.
    """

    def __init__(self, uuid: str) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def counter_mj(self) -> int | None:
        """Return the energy counter, millijoules; None where there is none."""
        return self._read(self._nvml.nvmlDeviceGetTotalEnergyConsumption)

    def power_mw(self) -> int | None:
        """Return ``nvmlDeviceGetPowerUsage``, milliwatts."""
        return self._read(self._nvml.nvmlDeviceGetPowerUsage)

    def instant_mw(self) -> int | None:
        """Return field 186 of the GPU, its power at this moment, milliwatts."""
        return self._read(instant_mw)

    def module_mw(self) -> int | None:
        """Return field 186 of the module that the GPU is part of, milliwatts."""
        scope = self._nvml.NVML_POWER_SCOPE_MODULE
        return self._read(lambda handle: instant_mw(handle, scope))

    def is_module(self) -> bool:
        """Return whether the GPU shares a module with a CPU."""
        return is_module(self._handle)

    def _read(self, function: Callable[[Any], int]) -> int | None:
        try:
            return int(function(self._handle))
        except self._nvml.NVMLError:
            return None


@dataclass(frozen=True, slots=True)
class SensorTrace:
    """A sensor's changes.

    Attributes:
        times_ns: time of each change: the middle of the first read that returned it.
        values: the value from then on.
        read_latencies_s: duration of each read, seconds.
    """

    times_ns: Int64
    values: Int64
    read_latencies_s: Floats

    @property
    def refresh_s(self) -> float | None:
        """The median time between changes, seconds; None where there were too few."""
        gaps = np.diff(self.times_ns)
        return float(np.median(gaps)) / NS_PER_S if len(gaps) >= 4 else None


def trace_sensor(
    read: Callable[[], int | None], seconds: float, interval_s: float = 0.0
) -> SensorTrace:
    """Read a sensor repeatedly, and return its changes.

    Args:
        read: reads it.
        seconds: for how long.
        interval_s: pause between two reads, seconds.
    """
    recording = _Recording()
    until_ns = time.time_ns() + round(seconds * NS_PER_S)
    while time.time_ns() < until_ns:
        recording.poll(read)
        if interval_s:
            time.sleep(interval_s)
    return recording.trace()


@dataclass(slots=True)
class _Recording:
    times_ns: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    read_latencies_s: list[float] = field(default_factory=list)

    def poll(self, read: Callable[[], int | None]) -> None:
        before_ns = time.time_ns()
        value = read()
        after_ns = time.time_ns()
        self.read_latencies_s.append((after_ns - before_ns) / NS_PER_S)
        if value is not None and (not self.values or value != self.values[-1]):
            self.times_ns.append((before_ns + after_ns) // 2)
            self.values.append(value)

    def trace(self) -> SensorTrace:
        return SensorTrace(
            np.array(self.times_ns, np.int64),
            np.array(self.values, np.int64),
            np.array(self.read_latencies_s, np.float64),
        )


class Recorder:
    """Polls counter and powers in separate threads, while something else is measured.

    Used as a context; the traces are complete once it has ended.
    """

    def __init__(self, sensors: Sensors) -> None:
        self._sensors = sensors
        self._done = threading.Event()
        self._counter = _Recording()
        self._power = _Recording()
        self._instant = _Recording()
        self._threads = [
            threading.Thread(target=self._poll_counter, name="counter", daemon=True),
            threading.Thread(target=self._poll_power, name="power", daemon=True),
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
    def counter(self) -> SensorTrace:
        """The counter's changes, millijoules."""
        return self._counter.trace()

    @property
    def power(self) -> SensorTrace:
        """The changes of ``nvmlDeviceGetPowerUsage``, milliwatts."""
        return self._power.trace()

    @property
    def instant(self) -> SensorTrace:
        """The changes of field 186, milliwatts."""
        return self._instant.trace()

    def save(self, folder: Path, name: str, **events: Int64) -> None:
        """Save the traces, for analysis.

        Args:
            folder: the file's folder.
            name: the file's name, without its suffix.
            events: times of events during the recording, nanoseconds.
        """
        traces = {"counter_mj": self.counter, "power_mw": self.power, "instant_mw": self.instant}
        columns = {f"{key}_at_ns": trace.times_ns for key, trace in traces.items()}
        columns |= {key: trace.values for key, trace in traces.items()}
        save: Any = np.savez_compressed  # its stub takes no arrays by name beside its own arguments
        save(folder / f"{name}{TRACE_SUFFIX}", **columns, **events)

    def _poll_counter(self) -> None:
        while not self._done.wait(COUNTER_INTERVAL_S):
            self._counter.poll(self._sensors.counter_mj)

    def _poll_power(self) -> None:
        while not self._done.wait(POWER_INTERVAL_S):
            self._power.poll(self._sensors.power_mw)
            self._instant.poll(self._sensors.instant_mw)


def counter_energy_j(
    counter: SensorTrace, begin_ns: int, end_ns: int
) -> tuple[float, float] | None:
    """Return the energy between two instants by a counter's changes, and its uncertainty, joules.

    Between two changes it is interpolated linearly, so that what is uncertain is the share of a
    refresh at either end that lies within: at most half of the refresh's energy.
    """
    times_ns, values = counter.times_ns, counter.values
    if len(times_ns) < 3 or times_ns[0] > begin_ns or times_ns[-1] < end_ns:
        return None
    readings = np.interp([begin_ns, end_ns], times_ns, values)
    places = np.clip(np.searchsorted(times_ns, [begin_ns, end_ns]), 1, len(values) - 1)
    steps_mj = np.diff(values)[places - 1]
    # The sigma of a uniform distribution over the refresh: its width over the root of twelve.
    sigma_mj = float(np.sqrt(np.sum((steps_mj / np.sqrt(12)) ** 2)))
    return float(readings[1] - readings[0]) / 1000, sigma_mj / 1000


def power_energy_j(power: SensorTrace, begin_ns: int, end_ns: int) -> float | None:
    """Return the energy between two instants by power, held from each change to the next."""
    times_ns, values = power.times_ns, power.values
    if not len(times_ns) or times_ns[0] > begin_ns:
        return None
    within = (times_ns > begin_ns) & (times_ns < end_ns)
    edges = np.concatenate([[begin_ns], times_ns[within], [end_ns]])
    first = np.searchsorted(times_ns, begin_ns, "right") - 1
    held_mw = np.concatenate([[values[first]], values[within]])
    return float(np.sum(held_mw * np.diff(edges))) / 1e3 / NS_PER_S
