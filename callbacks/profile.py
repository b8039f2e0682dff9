"""StopWhenMeasured: training that is there only to measure power settings ends once it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.schedule import CarbonSchedule
from carbon_trainer.control.actions import Action, Stop
from carbon_trainer.runs.outcome import Outcome

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead


class StopWhenMeasured(CarbonCallback):
    """Ends training when the schedule beside it has measured the power settings."""

    def propose(self, lead: Lead, trainer: Trainer, batch_index: int) -> Action | None:
        """Stop once they are measured."""
        schedules = [part for part in lead.parts if isinstance(part, CarbonSchedule)]
        if lead.waiting or not any(schedule.has_measured for schedule in schedules):
            return None
        return Stop(Outcome("finished", 0, "the power settings are measured"))
