"""Modules and callbacks of test_communication.py, apart because they take seconds to import."""

from __future__ import annotations

from typing import Any

import torch

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.communication import StepWatch
from carbon_trainer.callbacks.lightning_driver import Lead


class Watched(CarbonCallback):
    """Has one rank watch its steps, and notes those from which no forecast may be made."""

    def began(self, lead: Lead, trainer: Any) -> None:
        self.disturbed: list[int] = []
        lead.watch = StepWatch(lead.session, 10, 2, "gloo", torch.device("cpu"))

    def step_done(self, lead: Lead, trainer: Any, batch_index: int) -> None:
        if lead.disturbed:
            self.disturbed.append(trainer.global_step)
