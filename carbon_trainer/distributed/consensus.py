"""What all ranks do next: rank 0 decides, the others may call for a stop, and all obey at once.

One process decides after every step. Several agree about four times a second, at steps on which
all of them agree too: a signal to any rank is then known to all, and nobody is left waiting in a
collective that another does not enter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from carbon_trainer.distributed.groups import join_group, leave_group
from carbon_trainer.distributed.node_metering import ExchangeInterval
from carbon_trainer.distributed.process import ProcessRank

AGREE_S = 0.25
"""About how often several ranks agree, seconds."""

TIMEOUT = timedelta(seconds=600)
"""How long a rank is waited for; it is at the same step, or it has died."""


Shared = TypeVar("Shared")


class Consensus:
    """This rank's part in deciding together.

    Args:
        place: this process's; all ranks must make theirs at the same time.
    """

    def __init__(self, place: ProcessRank) -> None:
        self._rank = place.rank
        self._cadence = ExchangeInterval(AGREE_S)
        self._group: Any = None
        if place.world_size > 1 and dist.is_available() and dist.is_initialized():
            # On a group of its own, ranks wait on their CPUs and do not keep GPUs busy.
            self._group = join_group(TIMEOUT)

    @property
    def is_shared(self) -> bool:
        """Whether there are other ranks."""
        return self._group is not None

    def destroy(self) -> None:
        """Let go of the other ranks, for good."""
        group, self._group = self._group, None
        leave_group(group)

    def is_due(self, step: int) -> bool:
        """Say whether to decide after this step."""
        return not self.is_shared or self._cadence.is_due(step)

    def steps_until_next(self, step: int, now_ns: int) -> int:
        """Return after how many steps rank 0 would decide next."""
        return self._cadence.propose(step, now_ns) if self.is_shared else 1

    def max_signal(self, signal_number: int) -> int:
        """Return the highest signal number that any rank has received; 0 for none."""
        if not self.is_shared:
            return signal_number
        told = torch.tensor([signal_number])
        dist.all_reduce(told, op=dist.ReduceOp.MAX, group=self._group)
        return int(told.item())

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self.is_shared:
            dist.barrier(group=self._group)

    def broadcast(self, value: Shared) -> Shared:
        """Return rank 0's value on every rank; plain types only."""
        if not self.is_shared:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0, group=self._group)
        told: Shared = box[0]
        return told

    def broadcast_decision(self, decide: Callable[[], tuple[Shared, int]], step: int) -> Shared:
        """Return rank 0's decision on every rank.

        Args:
            decide: decides, on rank 0: what to do, and in how many steps to decide again.
            step: the step after which this is.
        """
        mine: Any = decide() if self._rank == 0 else None
        decision: tuple[Shared, int] = self.broadcast(mine)
        if self.is_shared:
            self._cadence.accept(step, decision[1])
        return decision[0]
