"""Meter devices briefly as a run would, to find out how each is metered and what that costs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TypeVar

from carbon_trainer.clock import NS_PER_S, Clock, SystemClock
from carbon_trainer.energy.meter import DeviceEnergy, EnergyMeter
from carbon_trainer.energy.sources.base import Component, PowerSource, Reading, SourceInfo

T = TypeVar("T")

PROBE_S = 1.5
"""Enough for a dozen changes of the slowest known counter, 100 ms."""

MAX_LEARNING_S = 3.0
"""How long a refresh may take to be learnt before that is given up, seconds."""

GPU_TIMEOUT_S = 5.0
HOST_TIMEOUT_S = 15.0
"""Within this a device must have answered, seconds; CodeCarbon starts slowly."""

LISTING_TIMEOUT_S = 10.0
"""Within this a driver must have listed its devices, seconds; waking eight GPUs takes a few."""

SLOW_READ_S = 0.1
HUNG_READ_S = 3.0
"""A reading that takes longer than the first is waited for until it has taken the second."""

POLL_INTERVAL_S = 0.05

MIN_CHANGES = 4


@dataclass(frozen=True, slots=True)
class DeviceProbe:
    """The results of probing a device.

    Attributes:
        info: which device, and how its figure is obtained.
        refresh_s: how often its figure changes, seconds: a counter's as learnt from its changes,
            power's to the 25 ms between two reads; None if it did not change often enough.
        power_w: its mean power, watts; None where it reported nothing.
        reads: number of fresh readings.
        read_median_s: median latency of a reading, seconds.
        read_max_s: the largest.
        problem: why its energy is unknown; None where it is known.
    """

    info: SourceInfo
    refresh_s: float | None
    power_w: float | None
    reads: int
    read_median_s: float
    read_max_s: float
    problem: str | None


def probe_devices(
    sources: Sequence[PowerSource], seconds: float = PROBE_S, clock: Clock | None = None
) -> list[DeviceProbe]:
    """Meter all sources at once, each for some time from its first reading on.

    A device that does not answer delays nothing: its probe says so.

    Args:
        sources: what to meter.
        seconds: how long to meter each.
        clock: the time.
    """
    clock = clock or SystemClock()
    timed_sources = [_TimedSource(source, clock) for source in sources]
    meter = EnergyMeter(timed_sources, clock=clock)
    # Kept here, as a device that was lost and is back is to be reported as lost.
    lost: dict[str, str] = {}
    begin_ns = clock.now_ns()
    meter.start()
    while True:
        lost |= {event.device: event.reason for event in meter.events() if event.lost}
        rows, powers_w = meter.summary().devices, meter.powers_w()
        waited_s = (clock.now_ns() - begin_ns) / NS_PER_S
        pairs = list(zip(timed_sources, rows, strict=True))
        if all(
            row.info.device in lost or source.is_done(row, seconds, waited_s)
            for source, row in pairs
        ):
            break
        clock.wait(POLL_INTERVAL_S)
    probes = [
        source.probe(row, powers_w.get(row.info.device), lost.get(row.info.device))
        for source, row in pairs
    ]
    if any(source.pending_s > SLOW_READ_S for source in timed_sources):
        # ``stop`` waits for a last reading, but a call that hangs in a driver may never return.
        threading.Thread(target=meter.stop, name="probe stop", daemon=True).start()
    else:
        meter.stop()
    return probes


def call_with_timeout(seconds: float, call: Callable[[], T]) -> T | None:
    """Return the result of a call into a driver, or None if it does not return in time.

    Args:
        seconds: how long to wait.
        call: what to call; its own errors are raised.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again in the calling thread
            errors.append(error)

    # A daemon, so that a call that never returns does not keep the process from ending.
    thread = threading.Thread(target=run, name="driver call", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return results[0] if results else None


class _TimedSource:
    """Measures the latency of another source's fresh readings."""

    __slots__ = (
        "_call_start_ns", "_changes_ns", "_clock", "_first_ns", "_last_ns", "_latencies_s",
        "_power_mw", "_source",
    )  # fmt: skip

    def __init__(self, source: PowerSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._latencies_s: list[float] = []
        self._last_ns: int | None = None
        self._first_ns: int | None = None
        self._call_start_ns: int | None = None
        self._power_mw: int | None = None
        self._changes_ns: list[int] = []

    def open(self) -> None:
        with self._calling():
            self._source.open()

    def read(self) -> Reading | None:
        start_ns = self._clock.now_ns()
        with self._calling():
            reading = self._source.read()
        end_ns = self._clock.now_ns()
        # A source may return the same reading again at once, which says nothing of its latency.
        if reading is not None and reading.time_ns != self._last_ns:
            self._first_ns = self._first_ns or end_ns
            self._last_ns = reading.time_ns
            self._latencies_s.append((end_ns - start_ns) / NS_PER_S)
            # The refresh of a counter is learnt by its poller; that of power is not needed there.
            if reading.energy_mj is None and reading.power_mw != self._power_mw:
                self._power_mw = reading.power_mw
                self._changes_ns.append(reading.time_ns)
        return reading

    def sample_power(self) -> int | None:
        return self._source.sample_power()

    def describe(self) -> SourceInfo:
        return self._source.describe()

    def close(self) -> None:
        self._source.close()

    @property
    def pending_s(self) -> float:
        """How long the call has lasted that has not returned yet, seconds; 0 without one."""
        call_start_ns = self._call_start_ns
        return 0.0 if call_start_ns is None else (self._clock.now_ns() - call_start_ns) / NS_PER_S

    def is_done(self, row: DeviceEnergy, seconds: float, waited_s: float) -> bool:
        """Return whether it was metered long enough, or there is nothing more to wait for."""
        if self._first_ns is None:
            return waited_s > _timeout_s(row.info)
        if self.pending_s > SLOW_READ_S:
            return self.pending_s > HUNG_READ_S
        # A counter answers at once, but its energy is known only after it has changed.
        if row.energy_mj == 0:
            return waited_s > _timeout_s(row.info)
        since_s = (self._clock.now_ns() - self._first_ns) / NS_PER_S
        is_learnt = not row.info.stepped or row.info.refresh_s is not None
        return since_s >= (seconds if is_learnt else max(seconds, MAX_LEARNING_S))

    def probe(self, row: DeviceEnergy, power_w: float | None, lost: str | None) -> DeviceProbe:
        """Return the results.

        Args:
            row: its energy.
            power_w: its power.
            lost: why the meter lost it, if it did.
        """
        latencies_s = self._latencies_s or [0.0]
        return DeviceProbe(
            info=row.info,
            refresh_s=row.info.refresh_s or self._power_refresh_s(),
            power_w=power_w,
            reads=len(self._latencies_s),
            read_median_s=median(latencies_s),
            read_max_s=max(latencies_s),
            problem=lost or self._problem(row),
        )

    def _power_refresh_s(self) -> float | None:
        gaps_ns = [later - earlier for earlier, later in pairwise(self._changes_ns)]
        return median(gaps_ns) / NS_PER_S if len(gaps_ns) >= MIN_CHANGES else None

    def _problem(self, row: DeviceEnergy) -> str | None:
        if self._first_ns is None or self.pending_s > HUNG_READ_S:
            return f"it has not answered for {max(self.pending_s, 1):.0f} s"
        return "it reports no energy" if row.energy_mj == 0 else None

    @contextmanager
    def _calling(self) -> Iterator[None]:
        self._call_start_ns = self._clock.now_ns()
        try:
            yield
        finally:
            self._call_start_ns = None


def _timeout_s(info: SourceInfo) -> float:
    return GPU_TIMEOUT_S if info.component is Component.GPU else HOST_TIMEOUT_S
