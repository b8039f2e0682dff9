"""Modules and callbacks of test_schedule.py, apart because they take seconds to import."""

from __future__ import annotations

import torch

from carbon_trainer.callbacks import CarbonSchedule
from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.actions import Action
from carbon_trainer.control.driver import TrainingDriver
from carbon_trainer.planning.plan import Plan
from carbon_trainer.runs.outcome import RESUME_NOW
from carbon_trainer.runs.session import RunSession
from tests.callbacks.training import TinyModule
from tests.simulation.world import WorkingGpu

STEP_S = 20.0


class Working(TinyModule):
    """Its steps take a simulated GPU's time, and its data loading leaves that idle."""

    def __init__(self, gpu: WorkingGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        self._gpu.work(STEP_S)
        return super().training_step(batch, index)


class IdleInPauses(CarbonCallback):
    """Tells the GPU that it has no work while training waits."""

    def __init__(self, gpu: WorkingGpu, session: RunSession) -> None:
        super().__init__(session=session)
        self._gpu = gpu

    def propose(self, driver: TrainingDriver) -> None:
        if driver.pause.is_paused:
            self._gpu.idle()


class Watched(CarbonSchedule):
    """Keeps the first plan, and can be asked for things in the midst of waiting."""

    first: Plan | None = None
    paused = 0

    def propose(self, driver: TrainingDriver) -> Action | None:
        if self.first is None:
            self.first = self.plan
        if driver.pause.is_paused and self.plan is not None:
            self.paused += 1
        return super().propose(driver)


class Validating(Working):
    """Its validations take the GPU as long as thirty steps."""

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self._gpu.work(30 * STEP_S)


class Impatient(Watched):
    """Somebody asks for the run after it has waited for a while."""

    def propose(self, driver: TrainingDriver) -> Action | None:
        if self.paused == 1000 and driver.session is not None:
            (driver.session.run_dir / RESUME_NOW).touch()
        return super().propose(driver)
