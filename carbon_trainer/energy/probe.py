"""Watch devices for a moment as a run would, to say how each is metered and what that costs."""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)

T = TypeVar("T")

WATCH_S = 1.5
"""Enough for a dozen changes of the slowest counter that is known, 100 ms."""

LEARN_S = 3.0
"""How long a refresh may take to be learnt before it is given up, seconds."""

GPU_ANSWERS_S = 5.0
HOST_ANSWERS_S = 15.0
"""Within this a device must have answered, seconds; CodeCarbon takes its time to start."""

LIST_WITHIN_S = 10.0
"""Within this a driver must have listed its devices, seconds; waking eight GPUs takes a few."""

SLOW_READ_S = 0.1
HUNG_READ_S = 3.0
"""A reading that takes longer than the first is waited for until it has taken the second."""

LOOK_S = 0.05

CHANGES_TO_LEARN = 4


@dataclass(frozen=True, slots=True)
class WatchedDevice:
    """What was seen of a device.

    Attributes:
        info: which device, and how its figure is made.
        refresh_s: how often its figure changes, seconds: a counter's as learnt from its changes,
            power's to the 25 ms between two looks; None if it did not change often enough.
        power_w: its mean power, watts; None where it told nothing.
        reads: fresh readings that it gave.
        read_median_s: what a reading costs, seconds.
        read_most_s: what the dearest cost.
        problem: why its energy is unknown; None where it is known.
    """

    info: SourceInfo
    refresh_s: float | None
    power_w: float | None
    reads: int
    read_median_s: float
    read_most_s: float
    problem: str | None


def find_sources(clock: Clock | None = None) -> list[PowerSource]:
    """Return what a run would meter on this machine: its GPUs, its CPU and memory."""
    from carbon_trainer.energy.sources.amd import discover_amd_gpus
    from carbon_trainer.energy.sources.host import host_sources
    from carbon_trainer.energy.sources.nvml import discover_gpus

    found: list[PowerSource] = []
    for discover in (discover_gpus, discover_amd_gpus):
        try:
            found += discover(clock=clock)
        except Exception as error:  # noqa: BLE001 - a vendor's library fails in ways of its own
            log.warning("GPUs could not be listed: %s: %s", type(error).__name__, error)
    # A module's counter has its CPU and memory in it already.
    counted = any(source.describe().includes_cpu for source in found)
    return found if counted else [*found, *host_sources(clock)]


def watch_devices(
    sources: Sequence[PowerSource], seconds: float = WATCH_S, clock: Clock | None = None
) -> list[WatchedDevice]:
    """Meter all sources at once, each for some time from its first reading on.

    A device that does not answer holds nothing up: it is told of as such.

    Args:
        sources: what to watch.
        seconds: how long to watch each.
        clock: the time.
    """
    clock = clock or SystemClock()
    timed = [_Timed(source, clock) for source in sources]
    meter = EnergyMeter(timed, clock=clock)
    lost: dict[str, str] = {}
    begin_ns = clock.now_ns()
    meter.start()
    while True:
        lost |= {event.device: event.why for event in meter.events() if event.lost}
        rows, powers_w = meter.summary().devices, meter.powers_w()
        waited_s = (clock.now_ns() - begin_ns) / NS_PER_S
        pairs = list(zip(timed, rows, strict=True))
        if all(
            row.info.device in lost or one.is_watched(row, seconds, waited_s) for one, row in pairs
        ):
            break
        clock.wait(LOOK_S)
    seen = [
        one.seen(row, powers_w.get(row.info.device), lost.get(row.info.device))
        for one, row in pairs
    ]
    if any(one.asked_s > SLOW_READ_S for one in timed):
        # What hangs in a driver may never come back; the rest is known.
        threading.Thread(target=meter.stop, name="watch stop", daemon=True).start()
    else:
        meter.stop()
    return seen


def answer_within(seconds: float, ask: Callable[[], T]) -> T | None:
    """Return what a call into a driver answers, or None if it does not come back in time.

    Args:
        seconds: how long to wait.
        ask: the call; its own errors go through.
    """
    answers: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001 - raised again where the answer is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="ask", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return answers[0] if answers else None


class _Timed:
    """A source whose fresh readings are timed."""

    __slots__ = (
        "_asked_ns", "_changes_ns", "_clock", "_costs_s", "_first_ns", "_last_ns", "_power_mw",
        "_source",
    )  # fmt: skip

    def __init__(self, source: PowerSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._costs_s: list[float] = []
        self._last_ns: int | None = None
        self._first_ns: int | None = None
        self._asked_ns: int | None = None
        self._power_mw: int | None = None
        self._changes_ns: list[int] = []

    def open(self) -> None:
        with self._asking():
            self._source.open()

    def read(self) -> Reading | None:
        began_ns = self._clock.now_ns()
        with self._asking():
            reading = self._source.read()
        ended_ns = self._clock.now_ns()
        if reading is not None and reading.time_ns != self._last_ns:
            self._first_ns = self._first_ns or ended_ns
            self._last_ns = reading.time_ns
            self._costs_s.append((ended_ns - began_ns) / NS_PER_S)
            if reading.energy_mj is None and reading.power_mw != self._power_mw:
                self._power_mw = reading.power_mw
                self._changes_ns.append(reading.time_ns)
        return reading

    def glance(self) -> int | None:
        return self._source.glance()

    def describe(self) -> SourceInfo:
        return self._source.describe()

    def close(self) -> None:
        self._source.close()

    @property
    def asked_s(self) -> float:
        """How long the call has lasted that has not come back yet, seconds; 0 without one."""
        asked_ns = self._asked_ns
        return 0.0 if asked_ns is None else (self._clock.now_ns() - asked_ns) / NS_PER_S

    def is_watched(self, row: DeviceEnergy, seconds: float, waited_s: float) -> bool:
        """Say whether enough was seen, or nothing more is to be waited for."""
        if self._first_ns is None:
            return waited_s > _answers_s(row.info)
        if self.asked_s > SLOW_READ_S:
            return self.asked_s > HUNG_READ_S
        if row.energy_mj == 0:
            return waited_s > _answers_s(row.info)
        since_s = (self._clock.now_ns() - self._first_ns) / NS_PER_S
        learnt = not row.info.stepped or row.info.refresh_s is not None
        return since_s >= (seconds if learnt else max(seconds, LEARN_S))

    def seen(self, row: DeviceEnergy, power_w: float | None, lost: str | None) -> WatchedDevice:
        """Say what was seen.

        Args:
            row: what it used.
            power_w: its power.
            lost: why the meter lost it.
        """
        costs_s = self._costs_s or [0.0]
        return WatchedDevice(
            info=row.info,
            refresh_s=row.info.refresh_s or self._power_refresh_s(),
            power_w=power_w,
            reads=len(self._costs_s),
            read_median_s=median(costs_s),
            read_most_s=max(costs_s),
            problem=lost or self._problem(row),
        )

    def _power_refresh_s(self) -> float | None:
        gaps_ns = [after - before for before, after in pairwise(self._changes_ns)]
        return median(gaps_ns) / NS_PER_S if len(gaps_ns) >= CHANGES_TO_LEARN else None

    def _problem(self, row: DeviceEnergy) -> str | None:
        if self._first_ns is None or self.asked_s > HUNG_READ_S:
            return f"it has not answered for {max(self.asked_s, 1):.0f} s"
        return "it tells of no energy" if row.energy_mj == 0 else None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self._asked_ns = self._clock.now_ns()
        try:
            yield
        finally:
            self._asked_ns = None


def _answers_s(info: SourceInfo) -> float:
    return GPU_ANSWERS_S if info.component is Component.GPU else HOST_ANSWERS_S
