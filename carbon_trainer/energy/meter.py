"""EnergyMeter: what every step, phase and run uses, without stopping anything to look."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np

from carbon_trainer.clock import NS_PER_S, Clock, SystemClock
from carbon_trainer.energy.cuda_steps import GpuEvent, GpuMarks
from carbon_trainer.energy.curve import EnergyCurve, EnergyEstimate
from carbon_trainer.energy.heartbeat import DeviceSnapshot
from carbon_trainer.energy.phases import Phases, PhaseTotals
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.results import (
    DeviceEnergy,
    EnergySummary,
    MeteredInterval,
    PhaseEnergy,
    StepEnergy,
    method_of,
)
from carbon_trainer.energy.sampler import Sampler
from carbon_trainer.energy.sources.base import Method, PowerSource
from carbon_trainer.energy.steps import StepMarks

log = logging.getLogger(__name__)

KNOTS_KEPT_NS = 120 * NS_PER_S
"""How long knots stay after they were drained, for the energy of recent steps."""

PHASES_KEPT = 4096
"""Changes of phase that are kept; where nobody drains, older ones are summed up then."""

STEPLESS_NS = 10 * NS_PER_S
"""Where no step was marked for so long from the start, nobody asks for the energy of any."""

__all__ = [
    "DeviceEnergy", "EnergyMeter", "EnergySummary", "MeteredInterval", "PhaseEnergy", "StepEnergy",
]  # fmt: skip


class _Device:
    """A poller, its curve, and up to where it was drained."""

    __slots__ = ("curve", "drained_ns", "drained_steps", "poller")

    def __init__(self, poller: Poller, start_ns: int) -> None:
        self.poller = poller
        self.curve = poller.curve
        self.drained_ns = start_ns
        self.drained_steps = 0


class EnergyMeter:
    """Meters whatever runs between ``start`` and ``stop``, in threads of its own.

    Args:
        sources: what to read; by default every GPU that this process may use, and the host.
        clock: the time.
        host: meter CPU and memory too, where ``sources`` is not given.
        gpus: UUIDs of the GPUs to meter; by default those that this process may use.
        gpu_event: makes an event such as ``torch.cuda.Event(enable_timing=True)``; steps are then
            marked in the GPU's time, which runs behind the Python thread's, without waiting.

    Example:
        ```python
        with EnergyMeter() as meter:
            for batch in data:
                with meter.step():
                    train(batch)
        print(meter.summary())
        ```
    """

    __slots__ = (
        "_clock", "_devices", "_discovery", "_environ", "_events", "_given", "_gpu_marks", "_host",
        "_marks", "_now_ns", "_phase_totals", "_phases", "_sampler", "_start_ns", "_step",
        "_step_ns", "_stop_ns", "_stopping", "_summed_ns",
    )  # fmt: skip

    def __init__(
        self,
        sources: Sequence[PowerSource] | None = None,
        *,
        clock: Clock | None = None,
        host: bool = True,
        gpus: Sequence[str] | None = None,
        gpu_event: Callable[[], GpuEvent] | None = None,
    ) -> None:
        self._given = sources
        self._host = host
        self._environ = None if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        self._clock = clock or SystemClock()
        self._now_ns = self._clock.now_ns
        self._sampler = Sampler(self._clock)
        self._devices: list[_Device] = []
        self._events: deque[MeterEvent] = deque(maxlen=10_000)
        self._start_ns: int | None = None
        self._stop_ns: int | None = None
        self._stopping = threading.Lock()
        self._discovery: threading.Thread | None = None
        self._phases: Phases | None = None
        self._phase_totals = PhaseTotals()
        self._summed_ns = 0
        self._marks = StepMarks()
        self._gpu_marks = GpuMarks(self._marks, gpu_event, self._now_ns) if gpu_event else None
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
        self._phases = Phases(self._start_ns)
        self._summed_ns = self._start_ns
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
                if self._gpu_marks is not None:
                    self._mark_on_gpu(self._gpu_marks.finish)
                if self._discovery is not None:
                    self._discovery.join(timeout=5)
                for poller in self._sampler.stop():
                    poller.curve.mark_lost(poller.curve.read_until_ns)
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
        from carbon_trainer.energy.sources.amd import discover_amd_gpus
        from carbon_trainer.energy.sources.host import host_sources
        from carbon_trainer.energy.sources.nvml import discover_gpus

        for discover in (discover_gpus, discover_amd_gpus):
            try:
                self._add(discover(self._environ, self._clock))
            except Exception as error:
                log.debug("discovery", exc_info=True)
                why = f"{type(error).__name__}: {error}"
                self._events.append(MeterEvent(self._now_ns(), "GPUs", "lost", why))
        # A module's counter has its CPU and memory in it already.
        counted = any(one.poller.source.describe().includes_cpu for one in list(self._devices))
        if self._host and not counted:
            self._add(host_sources(self._clock))

    def _add(self, sources: Sequence[PowerSource]) -> None:
        pollers = []
        for source in sources:
            curve = EnergyCurve(self._begin_ns, stepped=source.describe().stepped)
            poller = Poller(source, curve, self._clock, self._events.append, self._wanted_step_s)
            self._devices.append(_Device(poller, self._begin_ns))
            pollers.append(poller)
        self._sampler.add(pollers)

    @property
    def _begin_ns(self) -> int:
        if self._start_ns is None:
            raise RuntimeError("the EnergyMeter was not started")
        return self._start_ns

    # Marks: the training thread's part

    def step_begin(self) -> None:
        """Mark the beginning of a step: one look at the clock."""
        self._step_ns = self._now_ns()
        if self._gpu_marks is not None:
            self._mark_on_gpu(self._gpu_marks.begin)

    def step_end(self) -> None:
        """Mark its end: one look at the clock."""
        if self._gpu_marks is None or not self._mark_on_gpu(self._gpu_marks.end):
            self._marks.add(self._step_ns, self._now_ns())

    def mark_steps_on_gpu(self, gpu_event: Callable[[], GpuEvent]) -> None:
        """From the next step on mark them in the GPU's time.

        Args:
            gpu_event: makes an event such as ``torch.cuda.Event(enable_timing=True)``.
        """
        self._gpu_marks = GpuMarks(self._marks, gpu_event, self._now_ns)

    def _mark_on_gpu(self, mark: Callable[[], None]) -> bool:
        """Let the GPU mark; where it cannot, say so once and go on in the thread's time."""
        try:
            mark()
        except Exception as error:  # noqa: BLE001 - whatever the driver raises, training goes on
            log.warning(
                "steps are marked in the thread's time: %s: %s", type(error).__name__, error
            )
            self._gpu_marks = None
            return False
        return True

    def step(self) -> _Step:
        """Return a context for one step."""
        return self._step

    def set_phase(self, name: str) -> None:
        """From now on book under another phase.

        Raises:
            RuntimeError: if the meter was not started.
        """
        self._known_phases.set(self._now_ns(), name)
        if len(self._known_phases) > PHASES_KEPT:
            self._sum_phases(self._final_until_ns())
            self._known_phases.forget_before(self._oldest_needed_ns())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book what is used within under a phase, then under the one before again."""
        before = self._known_phases.current
        self.set_phase(name)
        try:
            yield
        finally:
            self.set_phase(before)

    def _wanted_step_s(self) -> float | None:
        shortest_s = self._marks.shortest_s()
        if shortest_s is None and self._now_ns() - self._begin_ns > STEPLESS_NS:
            return float("inf")
        return shortest_s

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

    def powers_w(self) -> dict[str, float]:
        """Return each device's mean power of the last seconds, watts, by the device's id.

        A device that does not answer is not in it.
        """
        return {
            device.poller.source.describe().device: device.curve.power_w()
            for device in list(self._devices)
            if device.curve.is_told
        }

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
        drained_ns = min(device.drained_ns for device in list(self._devices))
        since_ns = max(self._begin_ns, drained_ns - KNOTS_KEPT_NS)
        begins, ends = self._marks.kept()
        chosen = (ends <= until_ns) & (begins >= since_ns)
        begins, ends = begins[chosen], ends[chosen]
        energy_mj, measured_mj, variance_mj2 = (np.zeros(len(begins)) for _ in range(3))
        doubtful, unknown = (np.zeros(len(begins), bool) for _ in range(2))
        for device in list(self._devices):
            part = device.curve.parts(begins, ends)
            measures = device.poller.source.describe().method is Method.MEASURED
            doubtful |= (part.estimated_ns > 0) | (not measures)
            unknown |= part.unknown_ns > 0
            energy_mj += part.energy_mj
            measured_mj += part.energy_mj * (measures & (part.estimated_ns == 0))
            variance_mj2 += part.variance_mj2
        method = np.where(unknown, "unknown", np.where(doubtful, "estimated", "measured"))
        columns = (begins, ends, energy_mj / 1e3, np.sqrt(variance_mj2) / 1e3, measured_mj / 1e3)
        return [
            StepEnergy(begin_ns, end_ns, energy_j, sigma_j, Method(how), measured_j)
            for begin_ns, end_ns, energy_j, sigma_j, measured_j, how in zip(
                *(column.tolist() for column in columns), method.tolist(), strict=True
            )
        ]

    def summary(self) -> EnergySummary:
        """Return what was used until now, or until the stop."""
        end_ns = self._stop_ns or self._now_ns()
        devices = tuple(self._row(device, end_ns) for device in list(self._devices))
        totals = self._phase_totals.copy()
        self._add_phases(totals, self._summed_ns, end_ns)
        return EnergySummary(self._begin_ns, end_ns, devices, self._marks.count, totals.rows())

    def positions(self) -> tuple[DeviceSnapshot, ...]:
        """Return how far each device has been metered, for a heartbeat."""
        return tuple(self._position(device) for device in list(self._devices))

    def _position(self, device: _Device) -> DeviceSnapshot:
        info, curve = device.poller.describe(), device.curve
        counter_mj, known_ns = curve.counter_mj, curve.read_until_ns
        if self._stop_ns is not None:
            # The last reading comes after the stop, and is not all of this run's.
            known_ns = min(known_ns, self._stop_ns)
        return DeviceSnapshot(
            device=info.device,
            component=str(info.component),
            method=str(info.method),
            start_ns=self._begin_ns,
            known_ns=known_ns,
            energy_mj=curve.total(known_ns).energy_mj,
            power_mw=round(1000 * curve.power_w()),
            peak_mw=round(1000 * curve.peak_power_w()),
            counter_mj=counter_mj,
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
        edges = {begin_ns, until_ns, *self._known_phases.changes_ns(begin_ns, until_ns)}
        times = sorted(edges | set(device.curve.method_changes_ns(begin_ns, until_ns)))
        ended = self._marks.ended_by(times[1:])
        for (start_ns, end_ns), steps in zip(pairwise(times), ended, strict=True):
            part = device.curve.energy(start_ns, end_ns)
            before, device.drained_steps = device.drained_steps, max(steps, device.drained_steps)
            yield MeteredInterval(
                device=info.device,
                component=info.component,
                start_ns=start_ns,
                end_ns=end_ns,
                energy_mj=part.energy_mj,
                method=method_of(part, info),
                sigma_mj=part.sigma_mj,
                phase=self._known_phases.at(start_ns),
                steps=device.drained_steps - before,
            )

    @property
    def _known_phases(self) -> Phases:
        if self._phases is None:
            raise RuntimeError("the EnergyMeter was not started")
        return self._phases

    def _add_phases(self, totals: PhaseTotals, begin_ns: int, end_ns: int) -> None:
        """Add what each phase used between two instants."""
        edges = [begin_ns, *self._known_phases.changes_ns(begin_ns, end_ns), end_ns]
        times = np.array(edges, np.int64)
        used_mj = sum(
            (device.curve.parts(times[:-1], times[1:]).energy_mj for device in list(self._devices)),
            np.zeros(len(times) - 1, np.int64),
        )
        for (start_ns, stop_ns), used in zip(pairwise(edges), used_mj.tolist(), strict=True):
            totals.add(self._known_phases.at(start_ns), used, stop_ns - start_ns)

    def _sum_phases(self, until_ns: int) -> None:
        """Sum up what is final, so that it need not be kept."""
        if until_ns > self._summed_ns:
            self._add_phases(self._phase_totals, self._summed_ns, until_ns)
            self._summed_ns = until_ns

    def _final_until_ns(self) -> int:
        known = [device.curve.known_until_ns for device in list(self._devices)]
        return min((ns or self._begin_ns for ns in known), default=self._begin_ns)

    def _oldest_needed_ns(self) -> int:
        begin_ns, devices = self._begin_ns, list(self._devices)
        # Where nobody has ever drained, nobody waits for intervals.
        drained = [one.drained_ns for one in devices if one.drained_ns > begin_ns]
        return min(drained, default=self._summed_ns)

    def _forget(self) -> None:
        """Let go of what only drained intervals needed."""
        if not self._devices:
            return
        drained_ns = self._oldest_needed_ns()
        self._sum_phases(min(drained_ns, self._final_until_ns()))
        for device in list(self._devices):
            device.curve.forget_before(min(drained_ns, self._summed_ns) - KNOTS_KEPT_NS)
        self._known_phases.forget_before(min(drained_ns, self._summed_ns))


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
