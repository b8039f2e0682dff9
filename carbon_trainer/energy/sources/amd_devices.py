"""The AMD GPUs that this process may use, and which part of a card reports its figures."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

MAX_POWER_W = 5_000
"""No GPU draws as much; the bindings' values for "not available" (0xFFFF, 0xFFFFFFFF) are above."""

POWER_KEYS = ("current_socket_power", "average_socket_power", "socket_power")
"""MI300 and newer report the present power, MI200 and older a mean, each "N/A" for the other."""

DUAL_DIE_IDS = ("0x7408", "0x740c")
"""PCI ids of MI250X and MI250 (the amdgpu driver's table): one of two dies reports for both."""

DIES_NOTE = "the figure is the whole module's: it includes both dies"
PARTITION_NOTE = "the card is partitioned; the figure is the whole card's"


@dataclass(frozen=True, slots=True)
class AmdGpu:
    """A card whose figures are to be read.

    Attributes:
        bdf: PCI address of the part that reports the figures.
        uuid: its UUID as ROCm writes it, ``GPU-`` and 16 hex digits.
        label: its name for people.
        note: what a reader must also know.
    """

    bdf: str
    uuid: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Processor:
    """What ROCm lists as one device: a card, one of its dies, or a partition of it.

    Attributes:
        bdf: its PCI address, ``0000:c1:00.0``.
        uuid: its UUID as ROCm writes it.
        label: its name for people.
        pci_id: its PCI device id.
        reports: whether it reports energy or power, other than zero.
    """

    bdf: str
    uuid: str
    label: str
    pci_id: str
    reports: bool

    @property
    def slot(self) -> str:
        """The PCI address without its function, which partitions of a card have in common."""
        return self.bdf.partition(".")[0]


def load_amdsmi() -> Any:
    """Return the module ``amdsmi``, or None where it or its C library is missing.

    The package prints, and raises KeyError, when its library is missing, so that is searched for
    first, where the package does (``find_smi_library`` of amdsmi 6.4 and 7.0).
    """
    if "amdsmi" in sys.modules:
        return sys.modules["amdsmi"]
    spec = find_spec("amdsmi")
    if spec is None or spec.origin is None or not _library_loads(Path(spec.origin).parent):
        return None
    try:
        return importlib.import_module("amdsmi")
    except Exception as error:  # noqa: BLE001 - a library of another version may raise anything
        log.warning("amdsmi cannot be used: %s: %s", type(error).__name__, error)
        return None


def _library_loads(package: Path) -> bool:
    name = "libamd_smi.so"
    home = os.environ.get("ROCM_HOME", os.environ.get("ROCM_PATH"))
    paths = [f"{home}/lib/{name}"] if home else []
    rocm = os.environ.get("ROCM_PATH", "/opt/rocm")
    for path in [*paths, name, str(package / name), f"{rocm}/lib/{name}"]:
        try:
            ctypes.CDLL(path)
        except OSError:
            continue
        return True
    return False


def handles_by_bdf(amdsmi: Any) -> dict[str, list[Any]]:
    """Return the handles by PCI address, in the bindings' order; partitions may share one."""
    handles: dict[str, list[Any]] = {}
    for handle in amdsmi.amdsmi_get_processor_handles():
        handles.setdefault(str(amdsmi.amdsmi_get_gpu_device_bdf(handle)), []).append(handle)
    return handles


def list_processors(amdsmi: Any) -> list[Processor]:
    """Return what ROCm lists, in its order: by the kernel's nodes where these are reported."""
    nodes = [
        (_node_id(amdsmi, handle), _processor(amdsmi, bdf, handle))
        for bdf, handles in handles_by_bdf(amdsmi).items()
        for handle in handles
    ]
    if all(node_id is not None for node_id, _ in nodes):
        nodes.sort(key=lambda node: node[0] or 0)
    return [processor for _, processor in nodes]


def visible_indices(environ: Mapping[str, str], uuids: list[str]) -> list[int]:
    """Return the indices of devices that HIP would see (ROCm documentation, "GPU isolation").

    ROCR_VISIBLE_DEVICES selects first; HIP_VISIBLE_DEVICES, or CUDA_VISIBLE_DEVICES instead of it,
    selects among the rest. The runtime takes the two latter as unset where they are empty.

    Args:
        environ: the process's environment.
        uuids: of all devices, in ROCm's order.
    """
    indices = list(range(len(uuids)))
    rocr_list = environ.get("ROCR_VISIBLE_DEVICES")
    if rocr_list is not None:
        indices = _selected(rocr_list, indices, uuids)
    hip_list = environ.get("HIP_VISIBLE_DEVICES") or environ.get("CUDA_VISIBLE_DEVICES")
    return _selected(hip_list, indices, uuids) if hip_list else indices


def card_of(processor: Processor, processors: list[Processor]) -> AmdGpu:
    """Return the card that a device is or is a part of, by its reporting part."""
    partitions = [other for other in processors if other.slot == processor.slot]
    notes = [PARTITION_NOTE] if len(partitions) > 1 else []
    reporting = next((part for part in partitions if part.reports), partitions[0])
    die = _other_die(reporting, processors)
    if die is not None and die.reports != reporting.reports:
        notes.append(DIES_NOTE)
        reporting = die if die.reports else reporting
    return AmdGpu(reporting.bdf, reporting.uuid, reporting.label, "; ".join(notes))


def power_mw(amdsmi: Any, handle: Any) -> int | None:
    """Return the power that a device reports, milliwatts; None for "N/A" and for zero.

    Raises:
        amdsmi.AmdSmiException: if the device does not answer.
    """
    info = amdsmi.amdsmi_get_power_info(handle)
    for key in POWER_KEYS:
        watts = info.get(key)
        # A device that answers draws power: a die that does not report it returns zero.
        if isinstance(watts, int) and 0 < watts < MAX_POWER_W:
            return 1000 * watts
    return None


def energy_count(amdsmi: Any, handle: Any) -> tuple[int, int] | None:
    """Return the energy accumulator and nanojoules per tick; None where it is not reported.

    Raises:
        amdsmi.AmdSmiException: if the device does not answer.
    """
    info = amdsmi.amdsmi_get_energy_count(handle)
    ticks, resolution_uj = info.get("energy_accumulator"), info.get("counter_resolution")
    if not isinstance(ticks, int) or not resolution_uj or ticks in (0, 2**64 - 1):
        return None
    # A 32-bit float holds 15.3 as 15.3000002; whole nanojoules keep 64-bit counts exact.
    return ticks, round(1000 * resolution_uj)


def query(amdsmi: Any, function: Any, *args: Any) -> Any:
    """Return the result of a query, or None where the device does not support it."""
    try:
        return function(*args)
    except amdsmi.AmdSmiException as error:
        log.debug("%s: %s", getattr(function, "__name__", function), error)
        return None


def _processor(amdsmi: Any, bdf: str, handle: Any) -> Processor:
    asic = query(amdsmi, amdsmi.amdsmi_get_gpu_asic_info, handle) or {}
    serial = str(asic.get("asic_serial", "N/A"))
    figure = query(amdsmi, energy_count, amdsmi, handle) or query(amdsmi, power_mw, amdsmi, handle)
    return Processor(
        bdf=bdf,
        uuid=f"GPU-{serial[2:].lower()}" if serial.startswith("0x") else f"AMD-{bdf}",
        label=str(asic.get("market_name", "AMD GPU")),
        pci_id=str(asic.get("device_id", "")).lower(),
        reports=figure is not None,
    )


def _node_id(amdsmi: Any, handle: Any) -> int | None:
    # Older bindings lack the function; newer ones answer "N/A" without the kernel's driver.
    function = getattr(amdsmi, "amdsmi_get_gpu_kfd_info", None)
    node_id = (query(amdsmi, function, handle) or {}).get("node_id") if function else None
    return node_id if isinstance(node_id, int) else None


def _selected(variable: str, indices: list[int], uuids: list[str]) -> list[int]:
    """Return which of the indices a variable lists, each once; an unknown entry ends its list."""
    selected: list[int] = []
    for entry in (part.strip() for part in variable.split(",")):
        if entry.isdigit():
            matches = indices[int(entry) : int(entry) + 1]
        elif entry.lower().startswith("gpu-") and len(entry) > 4:
            prefix = entry.lower()
            matches = [index for index in indices if uuids[index].lower().startswith(prefix)][:1]
        else:
            matches = []
        if not matches:
            break
        selected += [index for index in matches if index not in selected]
    return selected


def _other_die(die: Processor, processors: list[Processor]) -> Processor | None:
    """Return the other die of a module of two; they follow one another in PCI order."""
    if die.pci_id not in DUAL_DIE_IDS:
        return None
    dies = sorted((other for other in processors if other.pci_id == die.pci_id), key=_bdf)
    # Pairs are 0 and 1, 2 and 3, ...: the last bit of the index tells the dies of a module apart.
    index = dies.index(die) ^ 1
    return dies[index] if index < len(dies) else None


def _bdf(processor: Processor) -> str:
    return processor.bdf
