"""What all ranks do next: rank 0 decides, any rank may bring a signal, and all obey at once.

One process decides after every step. Several agree about four times a second, at steps on which
all of them agree too: a signal to any rank is then known to all, and no rank is left waiting in a
collective that another does not enter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from carbon_trainer.distributed.node_metering import ExchangeInterval
from carbon_trainer.distributed.process import ProcessRank, create_group

DECISION_INTERVAL_S = 0.25
"""About how often several ranks decide, seconds."""

TIMEOUT = timedelta(seconds=600)
"""How long a rank is waited for; it is at the same step, or it has died."""

Value = TypeVar("Value")


class Consensus:
    """This rank's part in deciding together.

    Args:
        process: this process; all ranks must make theirs at the same time.
    """

    def __init__(self, process: ProcessRank) -> None:
        self._rank = process.rank
        self._interval = ExchangeInterval(DECISION_INTERVAL_S)
        # On a group of its own, ranks wait on their CPUs and do not keep GPUs busy.
        self._group = create_group(process, TIMEOUT)

    @property
    def is_shared(self) -> bool:
        """Whether there are other ranks."""
        return self._group is not None

    def destroy(self) -> None:
        """Leave the other ranks, for good."""
        group, self._group = self._group, None
        if group is not None:
            group.destroy()

    def is_due(self, step: int) -> bool:
        """Say whether to decide after this step."""
        return self._group is None or self._interval.is_due(step)

    def steps_until_next(self, step: int, now_ns: int) -> int:
        """Return after how many steps rank 0 would decide next."""
        return self._interval.propose(step, now_ns) if self.is_shared else 1

    def max_signal(self, signal_number: int) -> int:
        """Return the highest signal number that any rank has received; 0 for none."""
        return signal_number if self._group is None else self._group.max(signal_number)

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self._group is not None:
            self._group.barrier()

    def broadcast(self, value: Value) -> Value:
        """Return rank 0's value on every rank; plain types only."""
        return value if self._group is None else self._group.broadcast(value)

    def broadcast_decision(self, decide: Callable[[], tuple[Value, int]], step: int) -> Value:
        """Return rank 0's decision on every rank.

        Args:
            decide: decides, on rank 0: what to do, and in how many steps to decide again.
            step: the step after which this is.
        """
        proposal: Any = decide() if self._rank == 0 else None
        decision: tuple[Value, int] = self.broadcast(proposal)
        if self.is_shared:
            self._interval.accept(step, decision[1])
        return decision[0]
