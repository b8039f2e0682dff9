"""StopWhenMeasured: training that is there only to measure power settings ends once it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.actions import Action, Stop
from carbon_trainer.runs.outcome import Outcome

if TYPE_CHECKING:
    from carbon_trainer.control.driver import TrainingDriver


class StopWhenMeasured(CarbonCallback):
    """Ends training when the schedule beside it has measured the power settings."""

    def propose(self, driver: TrainingDriver) -> Action | None:
        """Stop once they are measured."""
        if driver.pause.is_paused or driver.plan is None or not driver.plan.has_measured:
            return None
        return Stop(Outcome("finished", 0, "the power settings are measured"))
