"""What each of our Lightning callbacks does in a run, beside receiving Lightning's hooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.control.actions import Action
    from carbon_trainer.control.driver import TrainingDriver
    from carbon_trainer.runs.session import RunSession


class Part:
    """One callback's part in a run: it adds its ability to the driver, and has figures to log.

    Attributes:
        settings: settings of the run that the callback was given, named as in RunConfig.
    """

    settings: Mapping[str, Any]

    def on_rank_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Training is about to start; called on every rank, also where nothing is recorded."""

    def on_run_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Training is about to start; called on the rank that records, after ``on_rank_start``."""

    def on_step_end(self, driver: TrainingDriver) -> None:
        """An optimizer step has ended; called on every rank, after each one."""

    def propose(self, driver: TrainingDriver) -> Action | None:
        """Return what should be done now, on the rank that records; None for going on.

        The first part's proposal is obeyed, on all ranks, before budget and plan are asked. While
        training is paused it is asked about twice a second.
        """
        return None

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return figures for the trainer's loggers, names with units."""
        return {}

    def on_exit(self) -> None:
        """Training is over, in whatever way; called on every rank."""

    def on_run_closed(self, session: RunSession) -> None:
        """The run was closed."""

    def overrides(self, hook: str) -> bool:
        """Say whether this part does something in a hook: where none does, no step pays for it."""
        function = getattr(getattr(self, hook), "__func__", None)
        return function is not getattr(Part, hook)
