"""What only a loop of a user's own knows of its training, as far as it says so."""

from __future__ import annotations

from collections.abc import Collection

from carbon_trainer.control.driver import TrainingDriver
from carbon_trainer.runs.outcome import Outcome
from carbon_trainer.runs.signals import HeldSignals


class LoopFace:
    """Implements ``control.face.Face`` for a loop that a RunRecorder records.

    Args:
        total_steps: optimizer steps that the loop does in all; None where it does not say.
        signals: holds signals for the loop.

    Attributes:
        driver: the run's, once there is one.
        phases: phases that have taken place: any of them may come before the next step.
    """

    def __init__(self, total_steps: int | None, signals: HeldSignals) -> None:
        self.driver: TrainingDriver | None = None
        self.phases: set[str] = set()
        self._total_steps = total_steps
        self._signals = signals

    def steps_left(self) -> int | None:
        """Return the optimizer steps to do; None where the loop does not say."""
        if self._total_steps is None or self.driver is None:
            return None
        # A loop that goes on after its last step is the user's to end: its budget still holds.
        return max(1, self._total_steps - self.driver.step)

    def phases_before_next_step(self) -> Collection[str]:
        """Return all phases that have taken place before."""
        return self.phases

    def steps_worth(self, phase: str) -> float:
        """Return 0: a phase that has not taken place yet is not known of."""
        return 0.0

    def stop(self, outcome: Outcome) -> None:
        """Do nothing: the loop looks at ``should_stop``, and saves what it wants to."""

    def received_signal(self) -> int:
        """Return the number of a signal that this process has received; 0 for none."""
        return self._signals.received
