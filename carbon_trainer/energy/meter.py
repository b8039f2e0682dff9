"""EnergyMeter: the energy of every step, phase and run, without stopping anything to measure."""

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
from carbon_trainer.energy.cuda_steps import CudaStepTimes, GpuEvent
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
from carbon_trainer.energy.sources.discovery import discover_batches
from carbon_trainer.energy.steps import StepTimes

log = logging.getLogger(__name__)

KNOT_RETENTION_NS = 120 * NS_PER_S
"""How long knots stay after they were drained, for the energy of recent steps."""

MAX_PHASE_CHANGES = 4096
"""Where nothing drains the meter, older changes of phase than these are summed up."""

STEPLESS_NS = 10 * NS_PER_S
"""Where no step has ended so long after the start, the caller has none whose energy matters."""

__all__ = [
    "DeviceEnergy", "EnergyMeter", "EnergySummary", "MeteredInterval", "PhaseEnergy", "StepEnergy",
]  # fmt: skip


class _Device:
    """A poller, its curve, and the instant and step up to which it was drained."""

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
            timed on the GPU, which runs behind the Python thread, without waiting for it.

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
        "_clock", "_cuda_steps", "_devices", "_discovery", "_environ", "_events", "_host",
        "_now_ns", "_phase_totals", "_sampler", "_sources", "_start_ns", "_step", "_step_ns",
        "_step_times", "_stop_lock", "_stop_ns", "_summed_ns", "_timeline",
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
        self._sources = sources
        self._host = host
        self._environ = None if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        self._clock = clock or SystemClock()
        self._now_ns = self._clock.now_ns
        self._sampler = Sampler(self._clock)
        # The discovery thread appends while others read, so they iterate over copies of it.
        self._devices: list[_Device] = []
        # Bounded, as a caller may never collect them.
        self._events: deque[MeterEvent] = deque(maxlen=10_000)
        self._start_ns: int | None = None
        self._stop_ns: int | None = None
        self._stop_lock = threading.Lock()
        self._discovery: threading.Thread | None = None
        self._timeline: Phases | None = None
        self._phase_totals = PhaseTotals()
        self._summed_ns = 0
        self._step_times = StepTimes()
        self._cuda_steps: CudaStepTimes | None = None
        if gpu_event is not None:
            self.mark_steps_on_gpu(gpu_event)
        self._step_ns = 0
        self._step = _Step(self)

    # Lifecycle

    def start(self) -> None:
        """Start to meter; returns at once, devices are discovered in a thread.

        Raises:
            RuntimeError: if it was started before.
        """
        if self._start_ns is not None:
            raise RuntimeError("an EnergyMeter meters once: make a new one")
        # Energy is counted from here, though devices may answer seconds later: their curves are
        # extrapolated back to it.
        self._start_ns = self._now_ns()
        self._timeline = Phases(self._start_ns)
        self._summed_ns = self._start_ns
        if self._sources is not None:
            self._add(self._sources)
            return
        self._discovery = threading.Thread(target=self._discover, name="discovery", daemon=True)
        self._discovery.start()

    def stop(self) -> EnergySummary:
        """Take the last readings and stop; may be called again, for the same summary."""
        with self._stop_lock:
            if self._start_ns is not None and self._stop_ns is None:
                self._stop_ns = self._now_ns()
                if self._cuda_steps is not None:
                    self._mark_on_gpu(self._cuda_steps.finish)
                # A driver may hang while it lists its devices; nothing of it is metered then.
                if self._discovery is not None:
                    self._discovery.join(timeout=5)
                for poller in self._sampler.stop():
                    poller.curve.mark_lost(poller.curve.read_until_ns)
                    device = poller.source.describe().device
                    self._add_loss(device, "it does not answer", self._stop_ns)
                # A hung driver may return after the end: its reading must not change the summary.
                for metered in self._devices:
                    metered.curve.close()
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
        for sources in discover_batches(
            self._environ,
            self._clock,
            include_host=self._host,
            on_error=lambda reason: self._add_loss("GPUs", reason, self._now_ns()),
        ):
            self._add(sources)

    def _add_loss(self, device: str, reason: str, time_ns: int) -> None:
        self._events.append(MeterEvent(time_ns, device, "lost", reason))

    def _add(self, sources: Sequence[PowerSource]) -> None:
        pollers = []
        for source in sources:
            curve = EnergyCurve(self._begin_ns, stepped=source.describe().stepped)
            poller = Poller(source, curve, self._clock, self._events.append, self._shortest_step_s)
            self._devices.append(_Device(poller, self._begin_ns))
            pollers.append(poller)
        self._sampler.add(pollers)

    @property
    def _begin_ns(self) -> int:
        if self._start_ns is None:
            raise RuntimeError("the EnergyMeter was not started")
        return self._start_ns

    # Steps and phases: called by the training thread

    def step_begin(self) -> None:
        """Mark the beginning of a step: reads the clock once."""
        self._step_ns = self._now_ns()
        if self._cuda_steps is not None:
            self._mark_on_gpu(self._cuda_steps.begin)

    def step_end(self) -> None:
        """Mark its end: reads the clock once."""
        # A step whose end the GPU cannot record is not lost: it gets the thread's time.
        if self._cuda_steps is None or not self._mark_on_gpu(self._cuda_steps.end):
            self._step_times.add(self._step_ns, self._now_ns())

    def mark_steps_on_gpu(self, gpu_event: Callable[[], GpuEvent]) -> None:
        """Time steps on the GPU, from the next one on.

        Args:
            gpu_event: makes an event such as ``torch.cuda.Event(enable_timing=True)``.
        """
        self._cuda_steps = CudaStepTimes(self._step_times, gpu_event, self._now_ns)

    def _mark_on_gpu(self, mark: Callable[[], None]) -> bool:
        """Let the GPU time a step; where it cannot, warn once and use the thread's time."""
        try:
            mark()
        except Exception as error:  # noqa: BLE001 - whatever the driver raises, training goes on
            log.warning(
                "steps are timed on the CPU, not the GPU: %s: %s", type(error).__name__, error
            )
            self._cuda_steps = None
            return False
        return True

    def step(self) -> _Step:
        """Return a context for one step."""
        return self._step

    def set_phase(self, name: str) -> None:
        """Start another phase: energy from now on is attributed to it.

        Raises:
            RuntimeError: if the meter was not started.
        """
        self._phases.set(self._now_ns(), name)
        if len(self._phases) > MAX_PHASE_CHANGES:
            self._sum_phases(self._final_until_ns())
            self._phases.forget_before(self._oldest_needed_ns())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Attribute the energy within the block to a phase, then to the one before again."""
        previous = self._phases.current
        self.set_phase(name)
        try:
            yield
        finally:
            self.set_phase(previous)

    def _shortest_step_s(self) -> float | None:
        shortest_s = self._step_times.shortest_s()
        # Without steps there is nothing that frequent polls would make more accurate.
        if shortest_s is None and self._now_ns() - self._begin_ns > STEPLESS_NS:
            return float("inf")
        return shortest_s

    # Results

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

        Devices that do not answer are left out.
        """
        return {
            device.poller.source.describe().device: device.curve.power_w()
            for device in list(self._devices)
            if device.curve.has_data
        }

    def peak_power_w(self) -> float:
        """Return the highest power of about the last minute, watts, summed over devices."""
        return sum(device.curve.peak_power_w() for device in self._devices)

    def energy(self, begin_ns: int, end_ns: int) -> EnergyEstimate:
        """Return the energy of all devices between two instants."""
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
        final_ns = [device.curve.final_until_ns for device in self._devices]
        if not final_ns or None in final_ns:
            return []
        until_ns = self._stop_ns or min(ns for ns in final_ns if ns is not None)
        drained_ns = min(device.drained_ns for device in list(self._devices))
        # The knots of earlier steps may be gone, and their energy with them.
        since_ns = max(self._begin_ns, drained_ns - KNOT_RETENTION_NS)
        starts, ends = self._step_times.recent()
        is_final = (ends <= until_ns) & (starts >= since_ns)
        starts, ends = starts[is_final], ends[is_final]
        energy_mj, measured_mj, variance_mj2 = (np.zeros(len(starts)) for _ in range(3))
        doubtful, unknown = (np.zeros(len(starts), bool) for _ in range(2))
        for device in list(self._devices):
            part = device.curve.parts(starts, ends)
            is_measuring = device.poller.source.describe().method is Method.MEASURED
            doubtful |= (part.estimated_ns > 0) | (not is_measuring)
            unknown |= part.unknown_ns > 0
            energy_mj += part.energy_mj
            measured_mj += part.energy_mj * (is_measuring & (part.estimated_ns == 0))
            variance_mj2 += part.variance_mj2
        method = np.where(unknown, "unknown", np.where(doubtful, "estimated", "measured"))
        columns = (starts, ends, energy_mj / 1e3, np.sqrt(variance_mj2) / 1e3, measured_mj / 1e3)
        return [
            StepEnergy(begin_ns, end_ns, energy_j, sigma_j, Method(step_method), measured_j)
            for begin_ns, end_ns, energy_j, sigma_j, measured_j, step_method in zip(
                *(column.tolist() for column in columns), method.tolist(), strict=True
            )
        ]

    def summary(self) -> EnergySummary:
        """Return the energy until now, or until the stop."""
        end_ns = self._stop_ns or self._now_ns()
        devices = tuple(self._device_energy(device, end_ns) for device in list(self._devices))
        # On top of what is summed up already; a copy, as the rest is not final yet.
        totals = self._phase_totals.copy()
        self._add_phases(totals, self._summed_ns, end_ns)
        return EnergySummary(self._begin_ns, end_ns, devices, self._step_times.count, totals.rows())

    def snapshots(self) -> tuple[DeviceSnapshot, ...]:
        """Return how far each device has been metered, for a heartbeat."""
        return tuple(self._snapshot(device) for device in list(self._devices))

    def _snapshot(self, device: _Device) -> DeviceSnapshot:
        info, curve = device.poller.describe(), device.curve
        counter_mj, until_ns = curve.counter_mj, curve.read_until_ns
        if self._stop_ns is not None:
            # The last reading comes after the stop, so a part of it is not this run's.
            until_ns = min(until_ns, self._stop_ns)
        return DeviceSnapshot(
            device=info.device,
            component=str(info.component),
            method=str(info.method),
            start_ns=self._begin_ns,
            known_ns=until_ns,
            energy_mj=curve.total(until_ns).energy_mj,
            power_mw=round(1000 * curve.power_w()),
            peak_mw=round(1000 * curve.peak_power_w()),
            counter_mj=counter_mj,
        )

    def events(self) -> list[MeterEvent]:
        """Return the events of devices since the last call."""
        # Here, in the caller's thread, as a hung poller cannot report itself.
        for device in list(self._devices):
            device.poller.check_hung()
        events = []
        # One by one: other threads append meanwhile, and clearing a copied deque would lose theirs.
        while self._events:
            events.append(self._events.popleft())
        return events

    def drain_intervals(self, *, final: bool = False) -> list[MeteredInterval]:
        """Return the energy that has become final since the last call, in intervals.

        They follow one another without a gap, split where phase or method changes; their sum is
        the summary's total.

        Args:
            final: up to the stop, with what had to be extrapolated; only after ``stop``.
        """
        intervals: list[MeteredInterval] = []
        for device in list(self._devices):
            until_ns = self._stop_ns if final else device.curve.final_until_ns
            if until_ns is not None and until_ns > device.drained_ns:
                intervals += self._drain(device, min(until_ns, self._stop_ns or until_ns))
        self._forget()
        return intervals

    def _device_energy(self, device: _Device, end_ns: int) -> DeviceEnergy:
        total, info = device.curve.total(end_ns), device.poller.describe()
        return DeviceEnergy(
            info, total.energy_mj, total.sigma_mj,
            total.measured_s, total.estimated_s, total.unknown_s,
        )  # fmt: skip

    def _drain(self, device: _Device, until_ns: int) -> Iterator[MeteredInterval]:
        info = device.poller.source.describe()
        begin_ns, device.drained_ns = device.drained_ns, until_ns
        edges = {begin_ns, until_ns, *self._phases.changes_ns(begin_ns, until_ns)}
        times = sorted(edges | set(device.curve.method_changes_ns(begin_ns, until_ns)))
        steps_ended = self._step_times.counts_ended(times[1:])
        for (start_ns, end_ns), steps in zip(pairwise(times), steps_ended, strict=True):
            part = device.curve.energy(start_ns, end_ns)
            # Ends that the GPU reports late may be out of order: the count must not fall.
            previous, device.drained_steps = device.drained_steps, max(steps, device.drained_steps)
            yield MeteredInterval(
                device=info.device,
                component=info.component,
                start_ns=start_ns,
                end_ns=end_ns,
                energy_mj=part.energy_mj,
                method=method_of(part, info),
                sigma_mj=part.sigma_mj,
                phase=self._phases.at(start_ns),
                steps=device.drained_steps - previous,
            )

    @property
    def _phases(self) -> Phases:
        if self._timeline is None:
            raise RuntimeError("the EnergyMeter was not started")
        return self._timeline

    def _add_phases(self, totals: PhaseTotals, begin_ns: int, end_ns: int) -> None:
        """Add the energy of each phase between two instants."""
        edges = [begin_ns, *self._phases.changes_ns(begin_ns, end_ns), end_ns]
        times = np.array(edges, np.int64)
        energies_mj = sum(
            (device.curve.parts(times[:-1], times[1:]).energy_mj for device in list(self._devices)),
            np.zeros(len(times) - 1, np.int64),
        )
        for (start_ns, stop_ns), energy_mj in zip(
            pairwise(edges), energies_mj.tolist(), strict=True
        ):
            totals.add(self._phases.at(start_ns), energy_mj, stop_ns - start_ns)

    def _sum_phases(self, until_ns: int) -> None:
        """Sum up what is final, so that its knots need not be kept."""
        if until_ns > self._summed_ns:
            self._add_phases(self._phase_totals, self._summed_ns, until_ns)
            self._summed_ns = until_ns

    def _final_until_ns(self) -> int:
        final_ns = [device.curve.final_until_ns for device in list(self._devices)]
        return min((ns or self._begin_ns for ns in final_ns), default=self._begin_ns)

    def _oldest_needed_ns(self) -> int:
        begin_ns, devices = self._begin_ns, list(self._devices)
        # A meter that has never been drained is used for its summary alone.
        drained_ns = [device.drained_ns for device in devices if device.drained_ns > begin_ns]
        return min(drained_ns, default=self._summed_ns)

    def _forget(self) -> None:
        """Drop what only drained intervals needed."""
        if not self._devices:
            return
        drained_ns = self._oldest_needed_ns()
        self._sum_phases(min(drained_ns, self._final_until_ns()))
        for device in list(self._devices):
            device.curve.forget_before(min(drained_ns, self._summed_ns) - KNOT_RETENTION_NS)
        self._phases.forget_before(min(drained_ns, self._summed_ns))


class _Step:
    """The context of a step; one serves all steps, so that entering it allocates nothing."""

    __slots__ = ("_begin", "_end")

    def __init__(self, meter: EnergyMeter) -> None:
        self._begin = meter.step_begin
        self._end = meter.step_end

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *_: object) -> None:
        self._end()
