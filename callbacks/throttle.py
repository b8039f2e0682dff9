"""PowerThrottle: training at the power that the schedule asks for, by what the machine permits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.throttling import PowerController
from carbon_trainer.errors import InputError
from carbon_trainer.power.throttle import Mechanism, Throttle

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead
    from carbon_trainer.runs.session import RunSession


class PowerThrottle(CarbonCallback):
    """Turns GPUs down and up again, and puts back what it found when training is over.

    Alone it trains at one setting; beside CarbonSchedule it follows the plan.

    Args:
        power_fraction: the setting to train at, as a fraction of what was found: 0.7 for 70 %.
        mechanism: ``power-limit``, ``clocks``, ``duty-cycle``, or ``auto`` for the first of
            them that is permitted.
        session: a run that somebody else opened; None to open one for each fit.

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
        self._share = power_fraction
        self._mechanism: Mechanism = mechanism
        self._pacer: PowerController | None = None

    @property
    def throttle(self) -> Throttle | None:
        """What turns power down while training; None where nothing does."""
        return self._pacer.throttle if self._pacer is not None else None

    def joined(self, lead: Lead, trainer: Trainer) -> None:
        """Find out what this machine permits, and set what was asked for."""
        if self._mechanism == "off":
            return
        self._pacer = PowerController(lead.gpus, self._mechanism, lead.recorder)
        if self._share < 1:
            self._pacer.throttle.apply(self._share)
            self._pacer.say(f"training at {self._pacer.throttle.text(self._share)}")

    def power(self, lead: Lead, power_fraction: float, mechanism: str) -> None:
        """Train at another setting from now on."""
        if self._pacer is not None:
            self._pacer.power(power_fraction, mechanism)

    def step_done(self, lead: Lead, trainer: Trainer, batch_index: int) -> None:
        """Space steps out where that is how power is turned down."""
        if self._pacer is not None:
            self._pacer.step_done(
                disturbed=lead.disturbed, called=lambda: any(part.signal() for part in lead.parts)
            )

    def left(self) -> None:
        """Put everything back."""
        pacer, self._pacer = self._pacer, None
        if pacer is not None:
            pacer.close()
