"""What transformers trains with on a schedule, apart because it takes seconds to import."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from tests.callbacks.schedule_helpers import STEP_S
from tests.simulation.world import WorkingGpu


class Works(TrainerCallback):
    """A step takes the simulated GPU's time."""

    def __init__(self, gpu: WorkingGpu) -> None:
        self._gpu = gpu

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._gpu.work(STEP_S)


class Evaluates(Works):
    """Evaluations take the GPU as long as thirty steps."""

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self._gpu.work(30 * STEP_S)
