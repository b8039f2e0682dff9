"""PowerThrottle: training at the power that the schedule asks for, by what the machine permits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.throttling import Pacer
from carbon_trainer.errors import InputError
from carbon_trainer.power.throttle import Means, Throttle

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead
    from carbon_trainer.runs.session import RunSession


class PowerThrottle(CarbonCallback):
    """Turns GPUs down and up again, and puts back what it found when training is over.

    Alone it trains at one setting; beside CarbonSchedule it follows the plan.

    Args:
        share: the setting to train at, as a share of what was found: 0.7 for 70 %.
        means: ``power-limit``, ``clocks``, ``duty-cycle``, or ``auto`` for the first of them that
            is permitted.
        session: a run that somebody else opened; None to open one for each fit.

    Raises:
        InputError: if a setting does not fit.
    """

    def __init__(
        self, share: float = 1.0, *, means: Means = "auto", session: RunSession | None = None
    ) -> None:
        if not 0 < share <= 1:
            raise InputError(f"share is {share!r}, but should be above 0 and at most 1")
        super().__init__(session=session, throttle=means)
        self._share = share
        self._means: Means = means
        self._pacer: Pacer | None = None

    @property
    def throttle(self) -> Throttle | None:
        """What turns power down while training; None where nothing does."""
        return self._pacer.throttle if self._pacer is not None else None

    def joined(self, lead: Lead, trainer: Trainer) -> None:
        """Find out what this machine permits, and set what was asked for."""
        if self._means == "off":
            return
        self._pacer = Pacer(lead.gpus, self._means, lead.recorder)
        if self._share < 1:
            self._pacer.throttle.apply(self._share)
            self._pacer.say(f"training at {self._pacer.throttle.text(self._share)}")

    def power(self, lead: Lead, share: float, means: str) -> None:
        """Train at another setting from now on."""
        if self._pacer is not None:
            self._pacer.power(share, means)

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
