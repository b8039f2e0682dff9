"""The parts of the check, a module each, the most useful ones first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carbon_trainer.acceptance.accelerator import Accelerator
from carbon_trainer.acceptance.findings import Findings
from carbon_trainer.acceptance.scale import Scale


@dataclass(frozen=True, slots=True)
class PartContext:
    """What a part measures with.

    Attributes:
        accelerator: the GPU, not open.
        scale: durations, and models to train.
        folder: where the part may write; a temporary folder.
    """

    accelerator: Accelerator
    scale: Scale
    folder: Path


Measure = Callable[[PartContext, Findings], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the check.

    Attributes:
        name: the name of its module in this package, which defines ``measure``.
        title: its title, for people.
        max_s: its time limit, seconds.
        needs_torch: whether it puts the GPU under load itself.
    """

    name: str
    title: str
    max_s: float
    needs_torch: bool = False

    def measure(self) -> Measure:
        """Return the function that measures."""
        module = importlib.import_module(f"{__name__}.{self.name}")
        measure: Measure = module.measure
        return measure


PARTS = (
    Part("board", "Driver, board and sensors", 40),
    Part("idle", "Power of an idle GPU", 70),
    Part("loads", "Energy of constant loads", 90, needs_torch=True),
    Part("waves", "Energy of steps", 75, needs_torch=True),
    Part("marks", "Marks of steps by CUDA events", 40, needs_torch=True),
    Part("limits", "Power limit", 60, needs_torch=True),
    Part("levels", "Speed and power at six limits", 100, needs_torch=True),
    Part("training", "Budget, pause, release and resume", 210),
    Part("memory", "Memory of trainings", 90),
    Part("overhead", "Cost on the training loop", 150),
    Part("front_doors", "LoRA and the Hugging Face Trainer", 90),
)
"""Idle power is measured early, while the board is cool."""
