"""This process among those of its training, found without asking a trainer."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from carbon_trainer.distributed.environment import is_elastic
from carbon_trainer.errors import InputError
from carbon_trainer.hardware import machine

if TYPE_CHECKING:
    import torch

    from carbon_trainer.distributed.groups import ProcessGroup


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """A process among those of its training, whichever framework trains.

    Attributes:
        rank: its number.
        world_size: how many processes there are.
        node: the machine that it runs on, the same for all of its processes.
        device: what it trains on; None where nothing is known of it.
    """

    rank: int
    world_size: int
    node: str
    device: torch.device | None = None

    @property
    def is_on_gpu(self) -> bool:
        """Whether it trains on a GPU, as far as is known."""
        return self.device is not None and self.device.type == "cuda"


def current_process() -> ProcessRank:
    """Return this process among those of the default process group; alone if there is none.

    Raises:
        InputError: if a launcher has started several, and their process group does not exist yet.
    """
    dist = _initialized_dist()
    if dist is None:
        if is_elastic() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(
                "torchrun has started several processes and their process group does not exist "
                "yet: open the RunRecorder after fabric.launch(), Accelerator() or "
                "init_process_group()."
            )
        return ProcessRank(0, 1, machine.host_name())
    if dist.get_world_size() == 1:
        return ProcessRank(0, 1, machine.host_name())
    # torchrun's number of the machine; its name where another has started the processes.
    node = os.environ.get("GROUP_RANK", machine.host_name())
    return ProcessRank(dist.get_rank(), dist.get_world_size(), node, _device(sys.modules["torch"]))


def create_group(
    process: ProcessRank, timeout: timedelta, ranks: Sequence[int] | None = None
) -> ProcessGroup | None:
    """Make a process group; None where the run is one process.

    Every rank must call it at the same time.

    Args:
        process: this process.
        timeout: how long a rank is waited for.
        ranks: which ranks; all by default.
    """
    if process.world_size == 1 or _initialized_dist() is None:
        return None
    from carbon_trainer.distributed.groups import ProcessGroup

    return ProcessGroup(timeout, ranks)


def _initialized_dist() -> Any:
    """Return torch.distributed where a default process group exists; it is never imported here."""
    torch = sys.modules.get("torch")
    dist: Any = getattr(torch, "distributed", None)
    return dist if dist is not None and dist.is_available() and dist.is_initialized() else None


def _device(torch: Any) -> Any:
    """Return the device of this process: the one it has chosen, else the one of its number."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return torch.device("cpu")
    index, local = torch.cuda.current_device(), int(os.environ.get("LOCAL_RANK", "0"))
    if index == 0 and local < torch.cuda.device_count():
        index = local
    return torch.device("cuda", index)
