"""What is measured, a module a part, in the order in which they are worth having."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carbon_trainer.acceptance.accelerator import Accelerator
from carbon_trainer.acceptance.findings import Findings
from carbon_trainer.acceptance.scale import Scale


@dataclass(frozen=True, slots=True)
class Setting:
    """What a part measures with.

    Attributes:
        accelerator: the GPU, not open.
        scale: how long to measure, what to train.
        folder: where the part may write; kept only if it is the report's.
    """

    accelerator: Accelerator
    scale: Scale
    folder: Path


Measure = Callable[[Setting, Findings], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the check.

    Attributes:
        name: its module's, below this package; ``measure`` is there.
        title: for people.
        most_s: after how long it is ended, seconds.
        needs_torch: whether it puts load on the GPU itself.
    """

    name: str
    title: str
    most_s: float
    needs_torch: bool = False

    def measure(self) -> Measure:
        """Return the function that measures."""
        module = importlib.import_module(f"{__name__}.{self.name}")
        found: Measure = module.measure
        return found


PARTS = (
    Part("board", "Driver, board and sensors", 40),
    Part("idle", "Power of an idle GPU", 70),
    Part("loads", "Energy of held loads", 90, needs_torch=True),
    Part("waves", "Energy of steps", 75, needs_torch=True),
    Part("marks", "Marks of steps by CUDA events", 40, needs_torch=True),
    Part("limits", "Power limit", 60, needs_torch=True),
    Part("levels", "Speed and power at six limits", 100, needs_torch=True),
    Part("training", "Budget, pause, release and resume", 210),
    Part("memory", "Memory of trainings", 90),
    Part("overhead", "Cost on the training loop", 150),
    Part("front_doors", "LoRA and the Hugging Face Trainer", 90),
)
"""Idle power comes early, while the board is cool."""
