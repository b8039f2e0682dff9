"""Which GPUs this process may use, in NVML's words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visible:
    """A device that CUDA would see.

    Attributes:
        uuid: the GPU's UUID; of the parent where it is a MIG slice.
        mig: whether it is a slice, whose figures are those of the whole card.
    """

    uuid: str
    mig: bool = False


def visible_gpus(
    environ: Mapping[str, str], gpu_uuids: list[str], mig_parents: Mapping[str, str]
) -> list[Visible]:
    """Apply CUDA_VISIBLE_DEVICES (CUDA C++ Programming Guide, "CUDA Environment Variables").

    Indices count in PCI bus order, which is NVML's; CUDA's own default order may differ on
    machines with different GPUs unless CUDA_DEVICE_ORDER=PCI_BUS_ID.

    Args:
        environ: the process's environment.
        gpu_uuids: UUIDs of the machine's GPUs in NVML's order.
        mig_parents: UUID of each MIG slice, with its GPU's.

    Returns:
        Each GPU once, in order. As in CUDA, an entry that fits none ends the list.
    """
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [Visible(uuid) for uuid in gpu_uuids]
    found: dict[str, Visible] = {}
    for entry in (part.strip() for part in listed.split(",")):
        visible = _resolve(entry, gpu_uuids, mig_parents)
        if visible is None:
            break
        found.setdefault(visible.uuid, visible)
    order = environ.get("CUDA_DEVICE_ORDER")
    if order != "PCI_BUS_ID" and any(c.isdigit() for c in listed) and len(set(gpu_uuids)) > 1:
        log.debug("CUDA_VISIBLE_DEVICES by index is taken in PCI bus order")
    return list(found.values())


def _resolve(entry: str, gpu_uuids: list[str], mig_parents: Mapping[str, str]) -> Visible | None:
    if entry.isdigit():
        index = int(entry)
        return Visible(gpu_uuids[index]) if index < len(gpu_uuids) else None
    if entry.startswith("MIG-GPU-"):
        # The form that drivers before 470 used: MIG-<the GPU's UUID>/<instance>/<instance>.
        uuid = entry.removeprefix("MIG-").partition("/")[0]
        return Visible(uuid, mig=True) if uuid in gpu_uuids else None
    if entry.startswith("MIG-"):
        slices = [mig for mig in mig_parents if mig.startswith(entry)]
        return Visible(mig_parents[slices[0]], mig=True) if len(slices) == 1 else None
    if entry.startswith("GPU-"):
        gpus = [uuid for uuid in gpu_uuids if uuid.startswith(entry)]
        return Visible(gpus[0]) if len(gpus) == 1 else None
    return None
