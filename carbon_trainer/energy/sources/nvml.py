"""NVIDIA GPUs through NVML, by the energy counter where it answers, else by power."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pynvml

from carbon_trainer.clock import Clock, SystemClock
from carbon_trainer.energy.sources.base import (
    Component,
    Method,
    Reading,
    SourceInfo,
    SourceLostError,
)
from carbon_trainer.energy.sources.nvml_sensors import instant_mw, is_module, power_window_ns
from carbon_trainer.energy.sources.visible_devices import VisibleGpu, visible_gpus

log = logging.getLogger(__name__)

SENSOR_UNCERTAINTY = 0.05
"""Relative gain error of GPU power sensors against external meters, one sigma: -6 to +11 % over
eight boards, most within 5 % (data of arXiv 2312.02741, SC24)."""

QUICK_READ_NS = 10_000_000
"""A counter answers in one to seven milliseconds; what takes longer was delayed."""

READ_ATTEMPTS = 3

MODULE_NOTE = "the figure is the whole module's: it includes CPU and memory"
"""Grace Hopper's and Grace Blackwell's counter (ml-energy/zeus pull request 172)."""

MIG_NOTE = "this process uses a MIG slice; the figure is the whole card's"


class NvmlSource:
    """One GPU. Which figures it supports is queried when it is opened.

    Args:
        gpu: which GPU.
        label: its name for people.
        clock: the time.
        is_module: whether a CPU shares its module, its power and its counter.
    """

    __slots__ = (
        "_clock", "_gpu", "_handle", "_has_counter", "_has_instant_power", "_is_module", "_label",
        "_window_ns",
    )  # fmt: skip

    def __init__(
        self, gpu: VisibleGpu, label: str, clock: Clock | None = None, *, is_module: bool = False
    ) -> None:
        self._gpu = gpu
        self._label = label
        self._clock = clock or SystemClock()
        self._handle: Any = None
        self._has_counter = True
        self._has_instant_power = False
        self._is_module = is_module
        self._window_ns = 0

    def open(self) -> None:
        """Find the device and the figures that it supports.

        Raises:
            SourceLostError: if it is not there or reports nothing.
        """
        try:
            # NVML counts its users, so CodeCarbon's and PyTorch's shutdown leave this one alone.
            pynvml.nvmlInit()
            # By UUID: indices change where a GPU falls off the bus and NVML is initialized again.
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(self._gpu.uuid)
        except pynvml.NVMLError as error:
            raise SourceLostError(f"NVML: {error}") from error
        self._has_counter = _is_supported(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        if not self._has_counter and not _is_supported(
            pynvml.nvmlDeviceGetPowerUsage, self._handle
        ):
            raise SourceLostError("NVML reports neither energy nor power of this device")
        # Samples refine a counter's segments; without a counter the power itself is read.
        self._has_instant_power = self._has_counter and _is_supported(instant_mw, self._handle)
        self._window_ns = 0 if self._has_counter else power_window_ns(self._handle, self._label)

    def read(self) -> Reading | None:
        """Return the counter, or power where there is none.

        Raises:
            SourceLostError: if the device does not answer.
        """
        if self._handle is None:
            return None
        try:
            if self._has_counter:
                counter = pynvml.nvmlDeviceGetTotalEnergyConsumption
                time_ns, energy_mj, latency_ns = self._timed(counter)
                return Reading(time_ns, energy_mj, None, latency_ns)
            time_ns, power_mw, latency_ns = self._timed(pynvml.nvmlDeviceGetPowerUsage)
            # A mean over the last second belongs to the moment half a second ago.
            time_ns -= self._window_ns // 2
            return Reading(time_ns, None, power_mw, latency_ns, self._window_ns)
        except pynvml.NVMLError as error:
            raise SourceLostError(f"NVML: {error}") from error

    def sample_power(self) -> int | None:
        """Return the power at this moment, milliwatts; None where the device does not report it.

        Raises:
            SourceLostError: if the device does not answer.
        """
        if self._handle is None or not self._has_instant_power:
            return None
        try:
            return instant_mw(self._handle)
        except pynvml.NVMLError as error:
            raise SourceLostError(f"NVML: {error}") from error

    def _timed(self, query: Callable[[Any], int]) -> tuple[int, int, int]:
        """Return when a value was valid, the value, and the call's latency.

        Another thread may hold the interpreter between the call and the reading of the clock, so
        the quickest of a few calls is taken, and the middle of it.
        """
        attempts = []
        for _ in range(READ_ATTEMPTS):
            start_ns = self._clock.now_ns()
            value = int(query(self._handle))
            latency_ns = self._clock.now_ns() - start_ns
            attempts.append((latency_ns, start_ns + latency_ns // 2, value))
            if latency_ns <= QUICK_READ_NS:
                break
        latency_ns, time_ns, value = min(attempts)
        return time_ns, value, latency_ns

    def describe(self) -> SourceInfo:
        """Return which GPU this is and which figure it gives."""
        return SourceInfo(
            name="NVML energy counter" if self._has_counter else "NVML power, integrated",
            component=Component.GPU,
            device=self._gpu.uuid,
            label=self._label,
            method=Method.MEASURED,
            refresh_s=None,
            uncertainty=SENSOR_UNCERTAINTY,
            note="; ".join(self._notes()),
            stepped=self._has_counter,
            glances=self._has_instant_power,
            includes_cpu=self._is_module,
        )

    def _notes(self) -> list[str]:
        notes = [MIG_NOTE] if self._gpu.mig else []
        notes += [MODULE_NOTE] if self._is_module else []
        if self._window_ns:
            notes.append(f"its power is a mean over {self._window_ns / 1e9:g} s")
        return notes

    def close(self) -> None:
        """Release NVML, which shuts down with its last user."""
        if self._handle is not None:
            self._handle = None
            try:
                pynvml.nvmlShutdown()
            except pynvml.NVMLError as error:
                log.debug("nvmlShutdown: %s", error)


@dataclass(frozen=True, slots=True)
class GpuDescription:
    """What ``doctor`` shows of a GPU.

    Attributes:
        uuid: its UUID.
        name: its name.
        memory_bytes: its memory.
        visible: whether this process may use it.
        power_limit_w: the present power limit; None if not reported.
        limit_range_w: the lowest and highest limit; None if not reported.
        mig: whether it is partitioned into MIG slices.
    """

    uuid: str
    name: str
    memory_bytes: int
    visible: bool
    power_limit_w: float | None
    limit_range_w: tuple[float, float] | None
    mig: bool


@dataclass(frozen=True, slots=True)
class NvmlDescription:
    """What ``doctor`` shows of NVML: the driver, its GPUs, or why there are none."""

    driver: str | None
    gpus: tuple[GpuDescription, ...]
    problem: str | None = None


def discover_gpus(
    environ: Mapping[str, str] | None = None, clock: Clock | None = None
) -> list[NvmlSource]:
    """Return a source for each GPU that this process may use; none where NVML is not there."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        # Most machines without an NVIDIA GPU end here, so it is not worth a warning.
        log.debug("no NVML: %s", error)
        return []
    try:
        handles = _handles()
        labels = {uuid: str(pynvml.nvmlDeviceGetName(handle)) for uuid, handle in handles.items()}
        visible = visible_gpus(
            os.environ if environ is None else environ, list(handles), _mig_parents(handles)
        )
        return [
            NvmlSource(gpu, labels[gpu.uuid], clock, is_module=is_module(handles[gpu.uuid]))
            for gpu in visible
        ]
    except pynvml.NVMLError as error:
        log.warning("NVML is there, but its devices cannot be listed: %s", error)
        return []
    finally:
        pynvml.nvmlShutdown()


def describe_nvml(environ: Mapping[str, str] | None = None) -> NvmlDescription:
    """Return what NVML reports of this machine; only queries, nothing is set."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NvmlDescription(None, (), str(error))
    try:
        handles = _handles()
        visible = visible_gpus(
            os.environ if environ is None else environ, list(handles), _mig_parents(handles)
        )
        uuids = {gpu.uuid for gpu in visible}
        gpus = tuple(_describe(uuid, handle, uuid in uuids) for uuid, handle in handles.items())
        return NvmlDescription(str(pynvml.nvmlSystemGetDriverVersion()), gpus)
    except pynvml.NVMLError as error:
        return NvmlDescription(None, (), str(error))
    finally:
        pynvml.nvmlShutdown()


def _describe(uuid: str, handle: Any, visible: bool) -> GpuDescription:
    limit_mw = _query(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    range_mw = _query(pynvml.nvmlDeviceGetPowerManagementLimitConstraints, handle)
    memory = _query(pynvml.nvmlDeviceGetMemoryInfo, handle)
    mig_mode = _query(pynvml.nvmlDeviceGetMigMode, handle)
    return GpuDescription(
        uuid=uuid,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(memory.total) if memory is not None else 0,
        visible=visible,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
        limit_range_w=None if range_mw is None else (range_mw[0] / 1000, range_mw[1] / 1000),
        mig=mig_mode is not None and mig_mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
    )


def _handles() -> dict[str, Any]:
    # NVML's order is the PCI bus order, by which CUDA_VISIBLE_DEVICES counts.
    handles = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        handles[str(pynvml.nvmlDeviceGetUUID(handle))] = handle
    return handles


def _mig_parents(handles: Mapping[str, Any]) -> dict[str, str]:
    parents = {}
    for uuid, handle in handles.items():
        for index in range(_query(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            try:
                slice_handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
                parents[str(pynvml.nvmlDeviceGetUUID(slice_handle))] = uuid
            except pynvml.NVMLError:
                # Empty slots answer NOT_FOUND.
                continue
    return parents


def _query(function: Any, handle: Any) -> Any:
    """Return the result of a query, or None where the device does not support it."""
    try:
        return function(handle)
    except pynvml.NVMLError as error:
        log.debug("%s: %s", function.__name__, error)
        return None


def _is_supported(function: Any, handle: Any) -> bool:
    return _query(function, handle) is not None
