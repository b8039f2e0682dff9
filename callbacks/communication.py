"""CommunicationShare: how much of a step's time and energy goes into talking between ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch.profilers import PyTorchProfiler

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.communication import CommunicationProfiler, profiler_for

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.control.driver import TrainingDriver
    from carbon_trainer.runs.session import RunSession


class CommunicationShare(CarbonCallback):
    """Profiles a step now and then, on rank 0, for the share of it that is communication.

    Nothing happens where there is one rank, or while another profiler is at work.

    Args:
        session: a run that the caller opened; None to open one for each fit.
        communication_every: optimizer steps from one profiled step to the next; 0 for never.
    """

    def __init__(
        self, *, session: RunSession | None = None, communication_every: int | None = None
    ) -> None:
        super().__init__(session=session, communication_every=communication_every)
        self._profiler: CommunicationProfiler | None = None

    def on_run_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Profile steps where several ranks train."""
        self._profiler = driver.communication = profiler_for(driver.session, driver.context.process)
        if self._profiler is not None and _has_own_profiler(trainer):
            self._profiler.give_up("the trainer has a profiler of its own")

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return shares of time (0 to 1), and energy of a step's exposed communication (J)."""
        return self._profiler.metrics() if self._profiler is not None else {}


def _has_own_profiler(trainer: Trainer) -> bool:
    """Say whether Lightning profiles with Kineto too, even if it has not begun to."""
    return isinstance(trainer.profiler, PyTorchProfiler)  # type: ignore[attr-defined]
