"""What all processes of a run do next, as rank 0 decides it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from carbon_trainer.runs.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Stop:
    """Save a checkpoint and end training.

    Attributes:
        outcome: how the run's segment ends.
        figures: what was known when it was decided.
    """

    outcome: Outcome
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Power:
    """Train at a power setting.

    Attributes:
        power_fraction: the setting, as a fraction of the full one.
        mechanism: how rank 0's machine does it.
    """

    power_fraction: float
    mechanism: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause, all ranks together, until it is decided otherwise.

    Attributes:
        until_ns: until when, by the plan.
        why: for people.
    """

    until_ns: int
    why: str


@dataclass(frozen=True, slots=True)
class Train:
    """End a pause.

    Attributes:
        why: for people.
    """

    why: str


Action = Stop | Power | Pause | Train
