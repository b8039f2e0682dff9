"""The GPUs that this process may use, by their NVML UUIDs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VisibleGpu:
    """A device that CUDA would see.

    Attributes:
        uuid: the GPU's UUID; of the parent where it is a MIG slice.
        mig: whether it is a slice, whose figures are those of the whole card.
    """

    uuid: str
    mig: bool = False


def visible_gpus(
    environ: Mapping[str, str], gpu_uuids: list[str], mig_parents: Mapping[str, str]
) -> list[VisibleGpu]:
    """Apply CUDA_VISIBLE_DEVICES (CUDA C++ Programming Guide, "CUDA Environment Variables").

    Indices count in PCI bus order, which is NVML's; CUDA's own default order may differ on
    machines with different GPUs unless CUDA_DEVICE_ORDER=PCI_BUS_ID.

    Args:
        environ: the process's environment.
        gpu_uuids: UUIDs of the machine's GPUs in NVML's order.
        mig_parents: UUID of each MIG slice, with its GPU's.

    Returns:
        Each GPU once, in order. As in CUDA, an entry that matches none ends the list.
    """
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [VisibleGpu(uuid) for uuid in gpu_uuids]
    visible: dict[str, VisibleGpu] = {}
    for entry in (part.strip() for part in listed.split(",")):
        gpu = _resolve(entry, gpu_uuids, mig_parents)
        if gpu is None:
            break
        visible.setdefault(gpu.uuid, gpu)
    order = environ.get("CUDA_DEVICE_ORDER")
    if (
        order != "PCI_BUS_ID"
        and any(character.isdigit() for character in listed)
        and len(set(gpu_uuids)) > 1
    ):
        log.debug("CUDA_VISIBLE_DEVICES by index is taken in PCI bus order")
    return list(visible.values())


def _resolve(entry: str, gpu_uuids: list[str], mig_parents: Mapping[str, str]) -> VisibleGpu | None:
    if entry.isdigit():
        index = int(entry)
        return VisibleGpu(gpu_uuids[index]) if index < len(gpu_uuids) else None
    if entry.startswith("MIG-GPU-"):
        # The form that drivers before 470 used: MIG-<the GPU's UUID>/<instance>/<instance>.
        uuid = entry.removeprefix("MIG-").partition("/")[0]
        return VisibleGpu(uuid, mig=True) if uuid in gpu_uuids else None
    if entry.startswith("MIG-"):
        slices = [mig for mig in mig_parents if mig.startswith(entry)]
        return VisibleGpu(mig_parents[slices[0]], mig=True) if len(slices) == 1 else None
    if entry.startswith("GPU-"):
        gpus = [uuid for uuid in gpu_uuids if uuid.startswith(entry)]
        return VisibleGpu(gpus[0]) if len(gpus) == 1 else None
    return None
