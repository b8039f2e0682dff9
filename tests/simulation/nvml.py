"""A simulated NVML library, given to the real nvidia-ml-py in place of the one it would load.

Each function is a C function pointer with NVML's own signature, so all of pynvml's code runs: its
structures, its error codes, its conversions.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_uint, c_uint64, c_ulonglong, c_void_p, cast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvml

from carbon_trainer.clock import Clock, SystemClock
from tests.simulation.power import WAVES, Constant, Power, SquareWave
from tests.simulation.shared_power import SharedPower

ENVIRONMENT = "SIMULATED_NVML"
"""In a subprocess whose PYTHONPATH has ``tests/simulation/site``, JSON: a list of devices."""


@dataclass
class SimulatedGpu:
    """One GPU: its true power, and what it reports.

    Attributes:
        power: true power from ``origin_ns`` on.
        refresh_s: how often its counter changes.
        uuid: its UUID.
        mig_uuids: UUIDs of its slices; none where MIG is off.
        has_counter: whether it has an energy counter.
        has_power: whether it reports its power.
        has_instant: whether it reports its power at this moment (field 186).
        power_window_s: the span whose mean ``PowerUsage`` is; 0 for none.
        instant_window_s: the span whose mean field 186 is.
        instant_refresh_s: how often that changes.
        module: whether counter and power are those of a module with a CPU on it (Grace Hopper).
        wrap_mj: where the counter wraps to zero; 0 for never.
        lost: whether it does not answer.
        forbidden: whether it refuses to answer.
        read_s: what a read of the counter costs.
        hang_s: how long the next read hangs before it answers.
        permits: what a user may set.
        limit_mw: its power limit.
        clock_mhz: the highest clock that it is locked to; None where it is not.
        settings_file: where limit and clock are stored, for several processes to share.
    """

    power: Power = field(default_factory=SquareWave)
    refresh_s: float = 0.02
    uuid: str = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77"
    name: str = "Simulated H100"
    mig_uuids: tuple[str, ...] = ()
    has_counter: bool = True
    has_power: bool = True
    has_instant: bool = False
    power_window_s: float = 0.0
    instant_window_s: float = 0.025
    instant_refresh_s: float = 0.1
    module: bool = False
    wrap_mj: int = 0
    lost: bool = False
    forbidden: bool = False
    read_s: float = 0.0
    hang_s: float = 0.0
    permits: tuple[str, ...] = ("power-limit", "clocks")
    limit_mw: int = 700_000
    clock_mhz: int | None = None
    settings_file: str | None = None
    origin_ns: int = 0
    first_mj: int = 987_654_321
    _reset_ns: int | None = None

    def set(self, name: str, value: int | None) -> None:
        """Set ``limit_mw`` or ``clock_mhz``, for every process that shares the file."""
        setattr(self, name, value)
        if isinstance(self.power, SharedPower) and name == "limit_mw" and value is not None:
            self.power.set_limit(time.time_ns(), value / 1000)
        if self.settings_file:
            settings = {"limit_mw": self.limit_mw, "clock_mhz": self.clock_mhz}
            temporary = Path(f"{self.settings_file}.partial")
            temporary.write_text(json.dumps(settings), encoding="ascii")
            temporary.replace(self.settings_file)

    def refresh_settings(self) -> None:
        """Read what other processes have set."""
        if self.settings_file and Path(self.settings_file).exists():
            settings = json.loads(Path(self.settings_file).read_text(encoding="ascii"))
            self.limit_mw, self.clock_mhz = settings["limit_mw"], settings["clock_mhz"]

    def true_mj(self, begin_ns: int, end_ns: int) -> float:
        """Return the energy truly used between two instants, millijoules."""
        begin, end = begin_ns - self.origin_ns, end_ns - self.origin_ns
        return 1000 * (self.power.energy_j(end) - self.power.energy_j(begin))

    def reset(self, now_ns: int) -> None:
        """Reset the counter, as after the driver was reloaded."""
        self._reset_ns = now_ns

    def counter_mj(self, now_ns: int) -> int:
        """Return what the counter shows: the energy at its last refresh."""
        refresh_ns = round(self.refresh_s * 1e9)
        refreshed_ns = self.origin_ns + (now_ns - self.origin_ns) // refresh_ns * refresh_ns
        if self._reset_ns is not None:
            return round(self.true_mj(self._reset_ns, max(refreshed_ns, self._reset_ns)))
        counted_mj = self.first_mj + round(self.true_mj(self.origin_ns, refreshed_ns))
        return counted_mj % self.wrap_mj if self.wrap_mj else counted_mj

    def power_mw(self, now_ns: int) -> int:
        """Return what ``PowerUsage`` shows."""
        return self._mean_mw(now_ns, self.power_window_s)

    def instant_mw(self, now_ns: int) -> int:
        """Return what field 186 shows: a mean over the window before its last refresh."""
        refresh_ns = round(self.instant_refresh_s * 1e9)
        phase_ns = refresh_ns // 3
        since_ns = now_ns - self.origin_ns - phase_ns
        refreshed_ns = self.origin_ns + phase_ns + since_ns // refresh_ns * refresh_ns
        return self._mean_mw(refreshed_ns, self.instant_window_s)

    def _mean_mw(self, end_ns: int, window_s: float) -> int:
        window_ns = round(window_s * 1e9)
        if window_ns == 0:
            return round(1000 * self.power.power_w(end_ns - self.origin_ns))
        return round(self.true_mj(end_ns - window_ns, end_ns) * 1e9 / window_ns)

    def answer(self, clock: Clock) -> int:
        """Take the time that a call takes; return NVML's code for it."""
        hang_s, self.hang_s = self.hang_s, 0.0
        if hang_s or self.read_s:
            clock.wait(hang_s + self.read_s)
        if self.lost:
            return pynvml.NVML_ERROR_GPU_IS_LOST
        return pynvml.NVML_ERROR_NO_PERMISSION if self.forbidden else pynvml.NVML_SUCCESS


class SimulatedNvml:
    """The library: its exported functions by name.

    Args:
        gpus: the machine's GPUs.
        clock: the time at which a function is called.
    """

    def __init__(self, *gpus: SimulatedGpu, clock: Clock | None = None) -> None:
        self.gpus = list(gpus)
        self.clock = clock or SystemClock()
        self.calls = 0
        for gpu in self.gpus:
            gpu.origin_ns = gpu.origin_ns or self.clock.now_ns()
        self._strings = {code: text.encode() for code, text in _error_texts().items()}
        self._functions = {name: self._exported(name) for name in _SIGNATURES}

    def __getattr__(self, name: str) -> Any:
        """Give a function pointer, as ctypes.CDLL does."""
        try:
            return self.__dict__["_functions"][name]
        except KeyError:
            raise AttributeError(name) from None

    @contextmanager
    def install(self) -> Iterator[SimulatedNvml]:
        """Put this library in pynvml's place for its own, and undo that."""
        library, pointers = pynvml.nvmlLib, dict(pynvml._nvmlGetFunctionPointer_cache)
        self.load()
        try:
            yield self
        finally:
            pynvml.nvmlLib = library
            pynvml._nvmlGetFunctionPointer_cache.clear()
            pynvml._nvmlGetFunctionPointer_cache.update(pointers)

    def load(self) -> None:
        """Put this library in place for good."""
        pynvml._nvmlGetFunctionPointer_cache.clear()
        pynvml.nvmlLib = self

    def _exported(self, name: str) -> Any:
        behaviour: Callable[..., int] = getattr(self, f"_{name}")
        if name == "nvmlErrorString":
            return ctypes.CFUNCTYPE(c_char_p, c_int)(behaviour)
        return ctypes.CFUNCTYPE(c_int, *_SIGNATURES[name])(behaviour)

    def _gpu(self, handle: int) -> SimulatedGpu:
        return self.gpus[handle - 1]

    # NVML's functions. Each returns NVML's code; results go out through pointers.

    def _nvmlInitWithFlags(self, flags: int) -> int:
        return pynvml.NVML_SUCCESS

    def _nvmlShutdown(self) -> int:
        return pynvml.NVML_SUCCESS

    def _nvmlErrorString(self, code: int) -> bytes:
        return self._strings.get(code, b"Unknown Error")

    def _nvmlSystemGetDriverVersion(self, text: int, length: int) -> int:
        return _write(text, "610.12", length)

    def _nvmlDeviceGetCount_v2(self, count: int) -> int:
        _put(count, c_uint, len(self.gpus))
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: int) -> int:
        if index >= len(self.gpus):
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        _put(handle, c_void_p, index + 1)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: int) -> int:
        for index, gpu in enumerate(self.gpus):
            if gpu.uuid.encode() == uuid:
                _put(handle, c_void_p, index + 1)
                return pynvml.NVML_ERROR_GPU_IS_LOST if gpu.lost else pynvml.NVML_SUCCESS
        return pynvml.NVML_ERROR_NOT_FOUND

    def _nvmlDeviceGetUUID(self, handle: int, text: int, length: int) -> int:
        if handle >= 1000:
            index, slot = divmod(handle - 1000, 16)
            return _write(text, self.gpus[index].mig_uuids[slot], length)
        return _write(text, self._gpu(handle).uuid, length)

    def _nvmlDeviceGetName(self, handle: int, text: int, length: int) -> int:
        return _write(text, self._gpu(handle).name, length)

    def _nvmlDeviceGetMemoryInfo(self, handle: int, memory: int) -> int:
        _put(memory, c_ulonglong, 80 * 2**30)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetMigMode(self, handle: int, now: int, pending: int) -> int:
        for out in (now, pending):
            _put(out, c_uint, 1 if self._gpu(handle).mig_uuids else 0)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle: int, count: int) -> int:
        _put(count, c_uint, 7 if self._gpu(handle).mig_uuids else 0)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, slot: int, out: int) -> int:
        if slot >= len(self._gpu(handle).mig_uuids):
            return pynvml.NVML_ERROR_NOT_FOUND
        _put(out, c_void_p, 1000 + (handle - 1) * 16 + slot)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetTotalEnergyConsumption(self, handle: int, energy_mj: int) -> int:
        gpu = self._gpu(handle)
        self.calls += 1
        code = gpu.answer(self.clock)
        if code == pynvml.NVML_SUCCESS and not gpu.has_counter:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        if code == pynvml.NVML_SUCCESS:
            _put(energy_mj, c_uint64, gpu.counter_mj(self.clock.now_ns()))
        return code

    def _nvmlDeviceGetPowerUsage(self, handle: int, power_mw: int) -> int:
        gpu = self._gpu(handle)
        if gpu.lost or gpu.forbidden:
            return pynvml.NVML_ERROR_GPU_IS_LOST if gpu.lost else pynvml.NVML_ERROR_NO_PERMISSION
        if not gpu.has_power:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        _put(power_mw, c_uint, gpu.power_mw(self.clock.now_ns()))
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetFieldValues(self, handle: int, count: int, values: int) -> int:
        gpu = self._gpu(handle)
        if gpu.lost:
            return pynvml.NVML_ERROR_GPU_IS_LOST
        fields = cast(values, POINTER(pynvml.c_nvmlFieldValue_t))
        for index in range(count):
            entry = fields[index]
            is_power = entry.fieldId == pynvml.NVML_FI_DEV_POWER_INSTANT and gpu.has_instant
            is_supported = is_power and (entry.scopeId == pynvml.NVML_POWER_SCOPE_GPU or gpu.module)
            entry.nvmlReturn = (
                pynvml.NVML_SUCCESS if is_supported else pynvml.NVML_ERROR_NOT_SUPPORTED
            )
            entry.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
            entry.value.uiVal = gpu.instant_mw(self.clock.now_ns()) if is_supported else 0
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetArchitecture(self, handle: int, architecture: int) -> int:
        _put(architecture, c_uint, pynvml.NVML_DEVICE_ARCH_HOPPER)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetC2cModeInfoV(self, handle: int, info: int) -> int:
        cast(info, POINTER(pynvml.c_nvmlC2cModeInfo_v1_t))[0].isC2cEnabled = self._gpu(
            handle
        ).module
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetPowerManagementLimit(self, handle: int, limit_mw: int) -> int:
        if self._gpu(handle).lost:
            return pynvml.NVML_ERROR_GPU_IS_LOST
        self._gpu(handle).refresh_settings()
        _put(limit_mw, c_uint, self._gpu(handle).limit_mw)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceSetPowerManagementLimit(self, handle: int, limit_mw: int) -> int:
        if not 200_000 <= limit_mw <= 700_000:
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        return self._set(handle, "power-limit", "limit_mw", limit_mw)

    def _nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int, clock_mhz: int) -> int:
        _put(clock_mhz, c_uint, 1980)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceSetGpuLockedClocks(self, handle: int, min_mhz: int, max_mhz: int) -> int:
        return self._set(handle, "clocks", "clock_mhz", max_mhz)

    def _nvmlDeviceResetGpuLockedClocks(self, handle: int) -> int:
        return self._set(handle, "clocks", "clock_mhz", None)

    def _set(self, handle: int, kind: str, name: str, value: int | None) -> int:
        gpu = self._gpu(handle)
        if gpu.lost:
            return pynvml.NVML_ERROR_GPU_IS_LOST
        if kind not in gpu.permits:
            return pynvml.NVML_ERROR_NO_PERMISSION
        gpu.set(name, value)
        return pynvml.NVML_SUCCESS

    def _nvmlDeviceGetPowerManagementLimitConstraints(
        self, handle: int, min_mw: int, max_mw: int
    ) -> int:
        _put(min_mw, c_uint, 200_000)
        _put(max_mw, c_uint, 700_000)
        return pynvml.NVML_SUCCESS


# Pointers are untyped here: pynvml passes pointers to structures of its own.
_TEXT, _UINT, _OUT = c_void_p, c_uint, c_void_p
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "nvmlInitWithFlags": (_UINT,),
    "nvmlShutdown": (),
    "nvmlErrorString": (c_int,),
    "nvmlSystemGetDriverVersion": (_TEXT, _UINT),
    "nvmlDeviceGetCount_v2": (_OUT,),
    "nvmlDeviceGetHandleByIndex_v2": (_UINT, c_void_p),
    "nvmlDeviceGetHandleByUUID": (c_char_p, c_void_p),
    "nvmlDeviceGetUUID": (c_void_p, _TEXT, _UINT),
    "nvmlDeviceGetName": (c_void_p, _TEXT, _UINT),
    "nvmlDeviceGetMemoryInfo": (c_void_p, c_void_p),
    "nvmlDeviceGetMigMode": (c_void_p, _OUT, _OUT),
    "nvmlDeviceGetMaxMigDeviceCount": (c_void_p, _OUT),
    "nvmlDeviceGetMigDeviceHandleByIndex": (c_void_p, _UINT, c_void_p),
    "nvmlDeviceGetTotalEnergyConsumption": (c_void_p, c_void_p),
    "nvmlDeviceGetPowerUsage": (c_void_p, _OUT),
    "nvmlDeviceGetFieldValues": (c_void_p, c_int, c_void_p),
    "nvmlDeviceGetArchitecture": (c_void_p, _OUT),
    "nvmlDeviceGetC2cModeInfoV": (c_void_p, c_void_p),
    "nvmlDeviceGetPowerManagementLimit": (c_void_p, _OUT),
    "nvmlDeviceSetPowerManagementLimit": (c_void_p, _UINT),
    "nvmlDeviceGetMaxClockInfo": (c_void_p, c_uint, _OUT),
    "nvmlDeviceSetGpuLockedClocks": (c_void_p, _UINT, _UINT),
    "nvmlDeviceResetGpuLockedClocks": (c_void_p,),
    "nvmlDeviceGetPowerManagementLimitConstraints": (c_void_p, _OUT, _OUT),
}


def from_environment(text: str) -> SimulatedNvml:
    """Make the library that a subprocess is to use.

    The power of each device is a constant ``power_w``, so that its energy needs only time, or a
    ``wave`` by name, or what processes that share a file do with it (``shared_power``). Any of
    SimulatedGpu's attributes may be given. It may vanish: once there is a file ``lost_with``.
    """
    gpus = []
    for description in json.loads(text):
        lost_with = description.pop("lost_with", None)
        gpu = SimulatedGpu(power=_power_of(description), **description)
        gpus.append(gpu)
        if lost_with is not None:
            _lose_with(gpu, Path(lost_with))
    return SimulatedNvml(*gpus)


def _power_of(description: dict[str, Any]) -> Power:
    """Take what a device draws out of its description."""
    watts, wave = description.pop("power_w", None), description.pop("wave", "square")
    shared = description.pop("shared_power", None)
    if shared is not None:
        return SharedPower(Path(shared), description["origin_ns"])
    return WAVES[wave]() if watts is None else Constant(watts)


def _lose_with(gpu: SimulatedGpu, file: Path) -> None:
    def lose() -> None:
        while not file.exists():
            time.sleep(0.05)
        gpu.lost = True

    threading.Thread(target=lose, daemon=True).start()


def _put(address: int, kind: Any, value: int) -> None:
    cast(address, POINTER(kind))[0] = value


def _write(text: int, value: str, length: int) -> int:
    raw = value.encode() + b"\0"
    if len(raw) > length:
        return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
    ctypes.memmove(text, raw, len(raw))
    return pynvml.NVML_SUCCESS


def _error_texts() -> dict[int, str]:
    return {
        pynvml.NVML_ERROR_GPU_IS_LOST: "GPU is lost",
        pynvml.NVML_ERROR_NO_PERMISSION: "Insufficient Permissions",
        pynvml.NVML_ERROR_NOT_SUPPORTED: "Not Supported",
        pynvml.NVML_ERROR_NOT_FOUND: "Not Found",
        pynvml.NVML_ERROR_INVALID_ARGUMENT: "Invalid Argument",
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "NVML Shared Library Not Found",
    }
