"""A simulated ``amdsmi``: the module's functions, answers and exceptions, as those of 7.0.2.

The real package cannot be imported without its C library, and prints then, also when CodeCarbon
imports it; so it is not among the tests' requirements, and this module stands in its place.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from carbon_trainer.clock import Clock, VirtualClock
from tests.simulation.power import Constant, Power

RESOLUTION_UJ = ctypes.c_float(15.3).value
"""The bindings hand on a 32-bit float."""

NOT_SUPPORTED, NO_DATA, NOT_INIT, NOT_FOUND = 2, 40, 32, 31


class AmdSmiException(Exception):  # noqa: N818 - the bindings' name
    pass


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, err_code: int) -> None:
        super().__init__(err_code)
        self.err_code = err_code

    def __str__(self) -> str:
        return f"Error code:\n\t{self.err_code} | AMDSMI_STATUS"


@dataclass
class SimulatedAmd:
    """One processor as AMD SMI lists it.

    Attributes:
        power: true power from the clock's beginning on.
        bdf: its PCI address.
        serial: its unique id, hex digits.
        device_id: its PCI device id.
        node_id: the kernel's node.
        refresh_s: how often the accumulator changes.
        pace: what the accumulator counts, as a fraction of the truth.
        bits: the accumulator's width.
        first_ticks: what it showed at the beginning.
        has_counter: whether it has one.
        power_key: the field that reports power; none where all are "N/A".
        silent: a second die: counter and power are zero.
        lost: whether it does not answer.
    """

    power: Power = field(default_factory=lambda: Constant(300))
    bdf: str = "0000:c1:00.0"
    serial: str = "aaaa000000000001"
    device_id: str = "0x740f"
    node_id: int | str = "N/A"
    name: str = "AMD Instinct MI210"
    refresh_s: float = 0.001
    pace: float = 1.0
    bits: int = 64
    first_ticks: int = 123_456_789
    has_counter: bool = True
    power_key: str | None = "average_socket_power"
    silent: bool = False
    lost: bool = False

    def ticks(self, since_ns: int) -> int:
        refresh_ns = round(self.refresh_s * 1e9)
        energy_uj = 1e6 * self.pace * self.power.energy_j(since_ns // refresh_ns * refresh_ns)
        return (self.first_ticks + int(energy_uj / RESOLUTION_UJ)) % 2**self.bits


class SimulatedAmdSmi:
    """The module: put in the place of ``amdsmi`` by ``install``."""

    AmdSmiException = AmdSmiException
    AmdSmiLibraryException = AmdSmiLibraryException

    def __init__(self, *gpus: SimulatedAmd, clock: Clock | None = None) -> None:
        self.gpus = list(gpus)
        self.clock = clock or VirtualClock()
        self.begin_ns = self.clock.now_ns()
        self.ready = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> SimulatedAmdSmi:
        monkeypatch.setitem(sys.modules, "amdsmi", self)
        return self

    def amdsmi_init(self) -> None:
        self.ready = True

    def amdsmi_get_processor_handles(self) -> list[ctypes.c_void_p]:
        if not self.ready:
            raise AmdSmiLibraryException(NOT_INIT)
        return [ctypes.c_void_p(index + 1) for index in range(len(self.gpus))]

    def amdsmi_get_gpu_device_bdf(self, handle: ctypes.c_void_p) -> str:
        return self._gpu(handle).bdf

    def amdsmi_get_gpu_asic_info(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        gpu = self._gpu(handle)
        serial = f"0x{gpu.serial.upper()}"
        return {"market_name": gpu.name, "device_id": gpu.device_id, "asic_serial": serial}

    def amdsmi_get_gpu_kfd_info(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        return {"kfd_id": 1, "node_id": self._gpu(handle).node_id, "current_partition_id": 0}

    def amdsmi_get_energy_count(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        gpu = self._answering(handle)
        if not gpu.has_counter:
            raise AmdSmiLibraryException(NOT_SUPPORTED)
        since_ns = self.clock.now_ns() - self.begin_ns
        return {
            "energy_accumulator": 0 if gpu.silent else gpu.ticks(since_ns),
            "counter_resolution": RESOLUTION_UJ,
            "timestamp": since_ns,
        }

    def amdsmi_get_power_info(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        gpu = self._answering(handle)
        info: dict[str, Any] = dict.fromkeys(
            ("socket_power", "current_socket_power", "average_socket_power"), "N/A"
        )
        if gpu.power_key is not None:
            watts = gpu.power.power_w(self.clock.now_ns() - self.begin_ns)
            info[gpu.power_key] = 0 if gpu.silent else round(watts)
        return info

    def _answering(self, handle: ctypes.c_void_p) -> SimulatedAmd:
        gpu = self._gpu(handle)
        if gpu.lost:
            raise AmdSmiLibraryException(NO_DATA)
        return gpu

    def _gpu(self, handle: ctypes.c_void_p) -> SimulatedAmd:
        if not self.ready or not handle.value:
            raise AmdSmiLibraryException(NOT_INIT)
        return self.gpus[handle.value - 1]
