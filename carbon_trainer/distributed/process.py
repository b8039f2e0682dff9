"""Where this process stands among those of its training, found without asking a trainer."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from carbon_trainer.distributed.environment import is_elastic
from carbon_trainer.errors import InputError
from carbon_trainer.hardware import machine

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """Where a process stands among those of its training, whichever framework trains.

    Attributes:
        rank: its number.
        world_size: how many processes there are.
        node: the machine that it runs on, the same for all of its processes.
        device: what it trains on.
    """

    rank: int
    world_size: int
    node: str
    device: torch.device


def current_process() -> ProcessRank | None:
    """Return where this process stands among those that have met; None for one alone.

    Raises:
        InputError: if a launcher has started several, and they have not met.
    """
    torch: Any = sys.modules.get("torch")
    dist = torch.distributed if torch is not None else None
    if dist is None or not dist.is_available() or not dist.is_initialized():
        if is_elastic() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(
                "torchrun has started several processes and they have not met yet: open the "
                "RunRecorder after fabric.launch(), Accelerator() or init_process_group()."
            )
        return None
    if dist.get_world_size() == 1:
        return None
    # torchrun's number of the machine; its name where another has started the processes.
    node = os.environ.get("GROUP_RANK", machine.host_name())
    return ProcessRank(dist.get_rank(), dist.get_world_size(), node, _device(torch))


def _device(torch: Any) -> Any:
    """Return the device of this process: the one it has chosen, else the one of its number."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return torch.device("cpu")
    index, local = torch.cuda.current_device(), int(os.environ.get("LOCAL_RANK", "0"))
    if index == 0 and local < torch.cuda.device_count():
        index = local
    return torch.device("cuda", index)
