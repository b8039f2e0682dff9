"""Which share of the data a rank has: ranks that split layers between them have the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


@dataclass(frozen=True, slots=True)
class Share:
    """A rank's share of the data.

    Attributes:
        index: which.
        count: how many there are.
    """

    index: int
    count: int


def share_of(trainer: Trainer | None) -> Share:
    """Return this rank's share, as the strategy tells it; all of the data without ranks."""
    told = getattr(trainer.strategy, "distributed_sampler_kwargs", None) if trainer else None
    return Share(told["rank"], told["num_replicas"]) if told else Share(0, 1)
