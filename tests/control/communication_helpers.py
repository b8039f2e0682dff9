"""Callbacks of test_communication.py, apart because they take seconds to import."""

from __future__ import annotations

from typing import Any

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.communication import CommunicationProfiler
from carbon_trainer.control.driver import TrainingDriver


class Profiled(CarbonCallback):
    """Has one rank profile its steps, and notes those from which nothing may be predicted."""

    def on_run_start(self, driver: TrainingDriver, trainer: Any) -> None:
        self.disturbed: list[int] = []
        assert driver.session is not None
        driver.communication = CommunicationProfiler(driver.session, 10, 2, "gloo", on_gpu=False)

    def on_step_end(self, driver: TrainingDriver) -> None:
        if driver.disturbed:
            self.disturbed.append(driver.step)
