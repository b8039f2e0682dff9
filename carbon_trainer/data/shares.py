"""The share of the data that a rank trains on; ranks that split layers have the same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


@dataclass(frozen=True, slots=True)
class Share:
    """A rank's share of the data.

    Attributes:
        index: its number, from 0.
        count: number of shares.
    """

    index: int
    count: int


def share_of(trainer: Trainer | None) -> Share:
    """Return this rank's share, by its strategy; all of the data without ranks."""
    kwargs = getattr(trainer.strategy, "distributed_sampler_kwargs", None) if trainer else None
    return Share(kwargs["rank"], kwargs["num_replicas"]) if kwargs else Share(0, 1)
