"""Which AMD GPUs this process may use, and which of a card's parts tells its figures."""

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

MOST_W = 5_000
"""No GPU draws as much; the bindings' marks for "not told" (0xFFFF, 0xFFFFFFFF) are above it."""

POWER_KEYS = ("current_socket_power", "average_socket_power", "socket_power")
"""MI300 and newer tell the present power, MI200 and older a mean, each "N/A" for the other."""

DUAL_DIE_IDS = ("0x7408", "0x740c")
"""PCI ids of MI250X and MI250 (the amdgpu driver's table): of two dies one tells for both."""

DIES_NOTE = "the figure is the whole module's: both its dies are in it"
PARTITION_NOTE = "the card is cut into partitions; the figure is the whole card's"


@dataclass(frozen=True, slots=True)
class AmdGpu:
    """A card whose figures are to be read.

    Attributes:
        bdf: PCI address of the part that tells the figures.
        uuid: its UUID as ROCm writes it, ``GPU-`` and 16 hex digits.
        label: its name for people.
        note: what a reader must know besides.
    """

    bdf: str
    uuid: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Processor:
    """What ROCm sees as one device: a card, one of its dies, or a partition of it.

    Attributes:
        bdf: its PCI address, ``0000:c1:00.0``.
        uuid: its UUID as ROCm writes it.
        label: its name for people.
        pci_id: its PCI device id.
        tells: whether it tells energy or power, other than zero.
    """

    bdf: str
    uuid: str
    label: str
    pci_id: str
    tells: bool

    @property
    def slot(self) -> str:
        """The PCI address without its function, which partitions of a card have in common."""
        return self.bdf.partition(".")[0]


def load_amdsmi() -> Any:
    """Return the module ``amdsmi``, or None where it or its C library is missing.

    The package prints, and raises KeyError, when its library is missing, so that is looked for
    first, in the places where the package does (``find_smi_library`` of amdsmi 6.4 and 7.0).
    """
    if "amdsmi" in sys.modules:
        return sys.modules["amdsmi"]
    spec = find_spec("amdsmi")
    if spec is None or spec.origin is None or not _library_loads(Path(spec.origin).parent):
        return None
    try:
        return importlib.import_module("amdsmi")
    except Exception as error:  # noqa: BLE001 - a library of another version raises what it likes
        log.warning("amdsmi cannot be used: %s: %s", type(error).__name__, error)
        return None


def _library_loads(package: Path) -> bool:
    name = "libamd_smi.so"
    home = os.environ.get("ROCM_HOME", os.environ.get("ROCM_PATH"))
    places = [f"{home}/lib/{name}"] if home else []
    rocm = os.environ.get("ROCM_PATH", "/opt/rocm")
    for place in [*places, name, str(package / name), f"{rocm}/lib/{name}"]:
        try:
            ctypes.CDLL(place)
        except OSError:
            continue
        return True
    return False


def handles(amdsmi: Any) -> dict[str, list[Any]]:
    """Return the handles by PCI address, in the bindings' order; partitions may share one."""
    found: dict[str, list[Any]] = {}
    for handle in amdsmi.amdsmi_get_processor_handles():
        found.setdefault(str(amdsmi.amdsmi_get_gpu_device_bdf(handle)), []).append(handle)
    return found


def processors(amdsmi: Any) -> list[Processor]:
    """Return what ROCm sees, in its order: that of the kernel's nodes where these are told."""
    found = [
        (_node(amdsmi, handle), _look(amdsmi, bdf, handle))
        for bdf, several in handles(amdsmi).items()
        for handle in several
    ]
    if all(node is not None for node, _ in found):
        found.sort(key=lambda pair: pair[0] or 0)
    return [processor for _, processor in found]


def visible(environ: Mapping[str, str], uuids: list[str]) -> list[int]:
    """Return the positions of devices that HIP would see (ROCm documentation, "GPU isolation").

    ROCR_VISIBLE_DEVICES chooses first; HIP_VISIBLE_DEVICES, or CUDA_VISIBLE_DEVICES in its place,
    chooses among what is left. The runtime takes the two latter as unset where they are empty.

    Args:
        environ: the process's environment.
        uuids: of all devices, in ROCm's order.
    """
    seen = list(range(len(uuids)))
    first = environ.get("ROCR_VISIBLE_DEVICES")
    if first is not None:
        seen = _chosen(first, seen, uuids)
    then = environ.get("HIP_VISIBLE_DEVICES") or environ.get("CUDA_VISIBLE_DEVICES")
    return _chosen(then, seen, uuids) if then else seen


def card_of(one: Processor, everything: list[Processor]) -> AmdGpu:
    """Return the card that a device is or is a part of, as its telling part has it."""
    parts = [other for other in everything if other.slot == one.slot]
    notes = [PARTITION_NOTE] if len(parts) > 1 else []
    telling = next((part for part in parts if part.tells), parts[0])
    die = _other_die(telling, everything)
    if die is not None and die.tells != telling.tells:
        notes.append(DIES_NOTE)
        telling = die if die.tells else telling
    return AmdGpu(telling.bdf, telling.uuid, telling.label, "; ".join(notes))


def power_mw(amdsmi: Any, handle: Any) -> int | None:
    """Return the power that a device tells, milliwatts; None for "N/A" and for zero.

    Raises:
        amdsmi.AmdSmiException: if the device does not answer.
    """
    told = amdsmi.amdsmi_get_power_info(handle)
    for key in POWER_KEYS:
        watts = told.get(key)
        # Nothing that answers draws nothing: zero is how a silent die says "not told".
        if isinstance(watts, int) and 0 < watts < MOST_W:
            return 1000 * watts
    return None


def count(amdsmi: Any, handle: Any) -> tuple[int, int] | None:
    """Return the energy accumulator and nanojoules a tick; None where it is not told.

    Raises:
        amdsmi.AmdSmiException: if the device does not answer.
    """
    told = amdsmi.amdsmi_get_energy_count(handle)
    ticks, resolution_uj = told.get("energy_accumulator"), told.get("counter_resolution")
    if not isinstance(ticks, int) or not resolution_uj or ticks in (0, 2**64 - 1):
        return None
    # A float of 32 bits brings 15.3 as 15.3000002; whole numbers keep 64-bit counts exact.
    return ticks, round(1000 * resolution_uj)


def asked(amdsmi: Any, question: Any, *args: Any) -> Any:
    """Return what a device answers, or None where it does not support the question."""
    try:
        return question(*args)
    except amdsmi.AmdSmiException as error:
        log.debug("%s: %s", getattr(question, "__name__", question), error)
        return None


def _look(amdsmi: Any, bdf: str, handle: Any) -> Processor:
    asic = asked(amdsmi, amdsmi.amdsmi_get_gpu_asic_info, handle) or {}
    serial = str(asic.get("asic_serial", "N/A"))
    tells = asked(amdsmi, count, amdsmi, handle) or asked(amdsmi, power_mw, amdsmi, handle)
    return Processor(
        bdf=bdf,
        uuid=f"GPU-{serial[2:].lower()}" if serial.startswith("0x") else f"AMD-{bdf}",
        label=str(asic.get("market_name", "AMD GPU")),
        pci_id=str(asic.get("device_id", "")).lower(),
        tells=tells is not None,
    )


def _node(amdsmi: Any, handle: Any) -> int | None:
    ask = getattr(amdsmi, "amdsmi_get_gpu_kfd_info", None)
    node = (asked(amdsmi, ask, handle) or {}).get("node_id") if ask else None
    return node if isinstance(node, int) else None


def _chosen(listed: str, among: list[int], uuids: list[str]) -> list[int]:
    """Return what a list names, each once; an entry that fits none ends it."""
    found: list[int] = []
    for entry in (part.strip() for part in listed.split(",")):
        if entry.isdigit():
            fits = among[int(entry) : int(entry) + 1]
        elif entry.lower().startswith("gpu-") and len(entry) > 4:
            fits = [place for place in among if uuids[place].lower().startswith(entry.lower())][:1]
        else:
            fits = []
        if not fits:
            break
        found += [place for place in fits if place not in found]
    return found


def _other_die(one: Processor, everything: list[Processor]) -> Processor | None:
    """Return the other die of a module of two; they follow one another in PCI order."""
    if one.pci_id not in DUAL_DIE_IDS:
        return None
    dies = sorted((p for p in everything if p.pci_id == one.pci_id), key=lambda p: p.bdf)
    other = dies.index(one) ^ 1
    return dies[other] if other < len(dies) else None
