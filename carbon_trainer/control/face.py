"""What only a framework knows of a training; ``callbacks`` has one face for each."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from carbon_trainer.runs.outcome import Outcome


class Face(Protocol):
    """What only a framework knows of a training."""

    def steps_left(self) -> int | None:
        """Return the optimizer steps to do; 0 when training is ending, None if not known."""

    def phases_before_next_step(self) -> Collection[str]:
        """Return the phases, such as ``validation``, that may come before the next step."""

    def steps_worth(self, phase: str) -> float:
        """Estimate how many steps' energy a phase needs that has not taken place yet."""

    def stop(self, outcome: Outcome) -> None:
        """Save a checkpoint and end training; called on every rank after the same step."""

    def received_signal(self) -> int:
        """Return the number of a signal that this rank has received; 0 for none."""
