"""PowerThrottle: training at the power that the schedule asks for, by what the machine permits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.throttling import PowerController
from carbon_trainer.errors import InputError
from carbon_trainer.power.throttle import Mechanism, Throttle

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.control.driver import TrainingDriver
    from carbon_trainer.runs.session import RunSession


class PowerThrottle(CarbonCallback):
    """Turns GPUs down and up again, and puts back what it found when training is over.

    Alone it trains at one setting; beside CarbonSchedule it follows the plan.

    Args:
        power_fraction: the setting to train at, as a fraction of what was found: 0.7 for 70 %.
        mechanism: ``power-limit``, ``clocks``, ``duty-cycle``, or ``auto`` for the first of
            them that is permitted.
        session: a run that the caller opened; None to open one for each fit.

    Raises:
        InputError: if a setting does not fit.
    """

    def __init__(
        self,
        power_fraction: float = 1.0,
        *,
        mechanism: Mechanism = "auto",
        session: RunSession | None = None,
    ) -> None:
        if not 0 < power_fraction <= 1:
            raise InputError(
                f"power_fraction is {power_fraction!r}, but should be above 0 and at most 1"
            )
        super().__init__(session=session, throttle=mechanism)
        self._power_fraction = power_fraction
        self._mechanism: Mechanism = mechanism
        self._controller: PowerController | None = None

    @property
    def throttle(self) -> Throttle | None:
        """What turns power down while training; None where nothing does."""
        return self._controller.throttle if self._controller is not None else None

    def on_rank_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Find out what this machine permits, and set what was asked for."""
        if self._mechanism == "off":
            return
        self._controller = controller = driver.throttle(self._mechanism)
        if self._power_fraction < 1:
            controller.throttle.apply(self._power_fraction)
            controller.notify(f"training at {controller.throttle.text(self._power_fraction)}")

    def on_exit(self) -> None:
        """The driver has restored everything."""
        self._controller = None
