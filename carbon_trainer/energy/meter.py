"""EnergyMeter: what every step, phase and run uses, without stopping anything to look."""

from __future__ import annotations

import logging
import threading
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np

from carbon_trainer.clock import NS_PER_S, Clock, SystemClock
from carbon_trainer.energy.curve import EnergyCurve, EnergyEstimate
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.sampler import Sampler
from carbon_trainer.energy.source import Component, Method, PowerSource, SourceInfo

log = logging.getLogger(__name__)

MARKS_KEPT = 100_000
"""Steps whose marks are kept; older ones are in the intervals that were drained."""

KNOTS_KEPT_NS = 120 * NS_PER_S
"""How long knots stay after they were drained, for the energy of recent steps."""


@dataclass(frozen=True, slots=True)
class StepEnergy:
    """What one step used, all devices together.

    Attributes:
        begin_ns: its first instant.
        end_ns: its last.
        energy_j: joules.
        sigma_j: one sigma of its timing error, joules.
    """

    begin_ns: int
    end_ns: int
    energy_j: float
    sigma_j: float


@dataclass(frozen=True, slots=True)
class DeviceEnergy:
    """What one device used, and how well that is known."""

    info: SourceInfo
    energy_mj: int
    sigma_mj: float
    measured_s: float
    estimated_s: float
    unknown_s: float


@dataclass(frozen=True, slots=True)
class EnergySummary:
    """What was used from the start until ``end_ns``.

    Attributes:
        begin_ns: when metering started.
        end_ns: when it stopped, or now.
        devices: a row each; empty if there was nothing to read.
        steps: steps marked.
    """

    begin_ns: int
    end_ns: int
    devices: tuple[DeviceEnergy, ...]
    steps: int

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
        """How long was metered, seconds."""
        return (self.end_ns - self.begin_ns) / NS_PER_S

    def __str__(self) -> str:
        rows = [
            f"{row.info.label}: {row.energy_mj / 1000:,.1f} J, {row.info.method} ({row.info.name})"
            for row in self.devices
        ]
        total = f"{self.energy_j:,.1f} J in {self.seconds:,.2f} s, {self.steps:,} steps"
        return "\n".join([total, *rows] if rows else [total, "nothing could be metered"])


@dataclass(frozen=True, slots=True)
class MeteredInterval:
    """What one device used between two instants in one phase, known in one way."""

    device: str
    component: Component
    start_ns: int
    end_ns: int
    energy_mj: int
    method: Method
    sigma_mj: float
    phase: str
    steps: int


class _Device:
    """A poller, its curve, and up to where it was drained."""

    def __init__(self, poller: Poller, start_ns: int) -> None:
        self.poller = poller
        self.curve = poller.curve
        self.drained_ns = start_ns


class EnergyMeter:
    """Meters whatever runs between ``start`` and ``stop``, in threads of its own.

    Args:
        sources: what to read; by default every GPU that this process may use, and the host.
        clock: the time.
        host: meter CPU and memory too, where ``sources`` is not given.

    Example:
        with EnergyMeter() as meter:
            for batch in data:
                with meter.step():
                    train(batch)
        print(meter.summary())
    """

    def __init__(
        self,
        sources: Sequence[PowerSource] | None = None,
        *,
        clock: Clock | None = None,
        host: bool = True,
    ) -> None:
        self._given = sources
        self._host = host
        self._clock = clock or SystemClock()
        self._now_ns = self._clock.now_ns
        self._sampler = Sampler(self._clock)
        self._devices: list[_Device] = []
        self._events: deque[MeterEvent] = deque(maxlen=10_000)
        self._start_ns: int | None = None
        self._stop_ns: int | None = None
        self._stopping = threading.Lock()
        self._discovery: threading.Thread | None = None
        self._phase_ns: list[int] = []
        self._phase_names: list[str] = []
        self._begins = array("q", bytes(8 * MARKS_KEPT))
        self._ends = array("q", bytes(8 * MARKS_KEPT))
        self._marked = 0
        self._step_ns = 0
        self._step = _Step(self)

    # Life

    def start(self) -> None:
        """Begin to meter; returns at once, devices are found in a thread.

        Raises:
            RuntimeError: if it was started before.
        """
        if self._start_ns is not None:
            raise RuntimeError("an EnergyMeter meters once: make a new one")
        self._start_ns = self._now_ns()
        self._phase_ns.append(self._start_ns)
        self._phase_names.append("run")
        if self._given is not None:
            self._add(self._given)
            return
        self._discovery = threading.Thread(target=self._discover, name="discovery", daemon=True)
        self._discovery.start()

    def stop(self) -> EnergySummary:
        """Take the last readings and end; may be called again, for the same summary."""
        with self._stopping:
            if self._start_ns is not None and self._stop_ns is None:
                self._stop_ns = self._now_ns()
                if self._discovery is not None:
                    self._discovery.join(timeout=5)
                for poller in self._sampler.stop():
                    poller.curve.mark_lost(poller.curve.known_until_ns or self._stop_ns)
                    why = "it does not answer"
                    device = poller.source.describe().device
                    self._events.append(MeterEvent(self._stop_ns, device, "lost", why))
                for one in self._devices:
                    one.curve.close()
        return self.summary()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _discover(self) -> None:
        from carbon_trainer.energy.host import host_sources
        from carbon_trainer.energy.nvml import discover_gpus

        try:
            self._add(discover_gpus(clock=self._clock))
        except Exception as error:
            log.debug("discovery", exc_info=True)
            why = f"{type(error).__name__}: {error}"
            self._events.append(MeterEvent(self._now_ns(), "GPUs", "lost", why))
        if self._host:
            self._add(host_sources(self._clock))

    def _add(self, sources: Sequence[PowerSource]) -> None:
        for source in sources:
            curve = EnergyCurve(self._begin_ns, stepped=source.describe().stepped)
            poller = Poller(source, curve, self._clock, self._events.append)
            self._devices.append(_Device(poller, self._begin_ns))
            self._sampler.add(poller)

    @property
    def _begin_ns(self) -> int:
        if self._start_ns is None:
            raise RuntimeError("the EnergyMeter was not started")
        return self._start_ns

    # Marks: the training thread's part

    def step_begin(self) -> None:
        """Mark the beginning of a step: one look at the clock."""
        self._step_ns = self._now_ns()

    def step_end(self) -> None:
        """Mark its end: one look at the clock."""
        place = self._marked % MARKS_KEPT
        self._begins[place] = self._step_ns
        self._ends[place] = self._now_ns()
        self._marked += 1

    def step(self) -> _Step:
        """Return a context for one step."""
        return self._step

    def set_phase(self, name: str) -> None:
        """From now on book under another phase."""
        self._phase_ns.append(self._now_ns())
        self._phase_names.append(name)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book what is used within under a phase, then under the one before again."""
        before = self._phase_names[-1] if self._phase_names else "run"
        self.set_phase(name)
        try:
            yield
        finally:
            self.set_phase(before)

    # Figures

    def used_mj(self, *, upper: bool = False) -> int:
        """Return the energy from the start until now, millijoules.

        Args:
            upper: the upper estimate of what is not read yet, or cannot be, as budgets need it.
        """
        now_ns = self._stop_ns or self._now_ns()
        return sum(device.curve.used_mj(now_ns, upper=upper) for device in self._devices)

    def power_w(self) -> float:
        """Return the mean power of the last seconds, watts."""
        return sum(device.curve.power_w() for device in self._devices)

    def peak_power_w(self) -> float:
        """Return the highest power of about the last minute, watts, summed over devices."""
        return sum(device.curve.peak_power_w() for device in self._devices)

    def energy(self, begin_ns: int, end_ns: int) -> EnergyEstimate:
        """Return what all devices used between two instants."""
        parts = [device.curve.energy(begin_ns, end_ns) for device in self._devices]
        return EnergyEstimate(
            energy_mj=sum(part.energy_mj for part in parts),
            sigma_mj=float(np.sqrt(sum(part.sigma_mj**2 for part in parts))),
            measured_s=sum(part.measured_s for part in parts),
            estimated_s=sum(part.estimated_s for part in parts),
            unknown_s=sum(part.unknown_s for part in parts),
        )

    def steps(self) -> list[StepEnergy]:
        """Return the recent steps whose energy is known, oldest first."""
        known = [device.curve.known_until_ns for device in self._devices]
        if not known or None in known:
            return []
        until_ns = self._stop_ns or min(ns for ns in known if ns is not None)
        since_ns = max(self._begin_ns, until_ns - KNOTS_KEPT_NS)
        begins, ends = self._marks()
        chosen = (ends <= until_ns) & (begins >= since_ns)
        begins, ends = begins[chosen], ends[chosen]
        energy_mj = np.zeros(len(begins))
        variance = np.zeros(len(begins))
        for device in self._devices:
            part = device.curve.parts(begins, ends)
            energy_mj += part.energy_mj
            variance += part.variance_mj2
        return [
            StepEnergy(int(b), int(e), float(mj) / 1000, float(s) / 1000)
            for b, e, mj, s in zip(begins, ends, energy_mj, np.sqrt(variance), strict=True)
        ]

    def summary(self) -> EnergySummary:
        """Return what was used until now, or until the stop."""
        begin_ns = self._begin_ns
        end_ns = self._stop_ns or self._now_ns()
        return EnergySummary(
            begin_ns, end_ns, tuple(self._row(d, end_ns) for d in self._devices), self._marked
        )

    def events(self) -> list[MeterEvent]:
        """Return what has happened to devices since the last call."""
        for device in list(self._devices):
            device.poller.check_hung()
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def drain_intervals(self, *, final: bool = False) -> list[MeteredInterval]:
        """Return what has become known since the last call, in intervals.

        They follow one another without a gap, split where phase or method changes; their sum is
        the summary's total.

        Args:
            final: up to the stop, with what had to be extrapolated; only after ``stop``.
        """
        intervals: list[MeteredInterval] = []
        for device in list(self._devices):
            until_ns = self._stop_ns if final else device.curve.known_until_ns
            if until_ns is not None and until_ns > device.drained_ns:
                intervals += self._drain(device, min(until_ns, self._stop_ns or until_ns))
        self._forget()
        return intervals

    def _row(self, device: _Device, end_ns: int) -> DeviceEnergy:
        now = device.curve.total(end_ns)
        info = device.poller.describe()
        return DeviceEnergy(
            info, now.energy_mj, now.sigma_mj, now.measured_s, now.estimated_s, now.unknown_s
        )

    def _drain(self, device: _Device, until_ns: int) -> Iterator[MeteredInterval]:
        info = device.poller.source.describe()
        begin_ns, device.drained_ns = device.drained_ns, until_ns
        cuts = [ns for ns in self._phase_ns if begin_ns < ns < until_ns]
        cuts += device.curve.method_changes_ns(begin_ns, until_ns)
        edges = sorted({begin_ns, until_ns, *cuts})
        _, ends = self._marks()
        for start_ns, end_ns in pairwise(edges):
            part = device.curve.energy(start_ns, end_ns)
            yield MeteredInterval(
                device=info.device,
                component=info.component,
                start_ns=start_ns,
                end_ns=end_ns,
                energy_mj=part.energy_mj,
                method=_method(part, info),
                sigma_mj=part.sigma_mj,
                phase=self._phase_at(start_ns),
                steps=int(np.count_nonzero((ends > start_ns) & (ends <= end_ns))),
            )

    def _phase_at(self, time_ns: int) -> str:
        return self._phase_names[max(0, bisect_right(self._phase_ns, time_ns) - 1)]

    def _marks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the kept marks, oldest first."""
        marked = self._marked
        begins = np.array(self._begins, np.int64)
        ends = np.array(self._ends, np.int64)
        if marked <= MARKS_KEPT:
            return begins[:marked], ends[:marked]
        shift = -(marked % MARKS_KEPT)
        return np.roll(begins, shift), np.roll(ends, shift)

    def _forget(self) -> None:
        """Let go of what only drained intervals needed."""
        if not self._devices:
            return
        drained_ns = min(device.drained_ns for device in self._devices)
        for device in self._devices:
            device.curve.forget_before(drained_ns - KNOTS_KEPT_NS)
        old = bisect_right(self._phase_ns, drained_ns) - 1
        if old > 0:
            del self._phase_ns[:old]
            del self._phase_names[:old]


class _Step:
    """The context of a step; one serves all, so that entering it makes nothing."""

    __slots__ = ("_begin", "_end")

    def __init__(self, meter: EnergyMeter) -> None:
        self._begin = meter.step_begin
        self._end = meter.step_end

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *_: object) -> None:
        self._end()


def _method(part: EnergyEstimate, info: SourceInfo) -> Method:
    if part.unknown_s > 0:
        return Method.UNKNOWN
    if part.estimated_s > 0:
        return Method.ESTIMATED
    return info.method
