"""A process group of our own, beside those of training: over gloo, so that ranks wait on CPUs.

The only module of ``distributed`` that imports torch; ``process.create_group`` imports it where
there are several processes, as a loop of one process may train without torch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

log = logging.getLogger(__name__)

Value = TypeVar("Value")


class ProcessGroup:
    """Some ranks of a run. Every rank of the run must make it at the same time.

    Args:
        timeout: how long a rank is waited for.
        ranks: which ranks; all by default.
    """

    def __init__(self, timeout: timedelta, ranks: Sequence[int] | None = None) -> None:
        members = None if ranks is None else list(ranks)
        self._group: Any = dist.new_group(members, backend="gloo", timeout=timeout)
        self._size = dist.get_world_size() if members is None else len(members)

    def gather(self, value: Value) -> list[Value]:
        """Return every rank's value, in the order of ranks; anything that can be pickled."""
        gathered: list[Any] = [None] * self._size
        dist.all_gather_object(gathered, value, group=self._group)
        return gathered

    def broadcast(self, value: Value) -> Value:
        """Return rank 0's value on every rank."""
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0, group=self._group)
        broadcast: Value = values[0]
        return broadcast

    def max(self, value: int) -> int:
        """Return the largest of the ranks' values."""
        tensor = torch.tensor([value])
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        return int(tensor.item())

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        dist.barrier(group=self._group)

    def destroy(self) -> None:
        """Destroy the group before the process ends.

        A gloo thread that still holds the last collective's tensors when Python ends would abort
        the process: it takes the interpreter's lock to release them (seen with torch 2.13).
        """
        if not dist.is_initialized():
            return
        try:
            dist.destroy_process_group(self._group)
        except (RuntimeError, ValueError):
            # The training script has destroyed all groups already.
            log.debug("destroying a process group", exc_info=True)
