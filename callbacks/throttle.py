"""PowerThrottle: training at the power that the schedule asks for, by what the machine permits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.energy.nvml import discover_gpus
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.power.throttle import DUTY_CYCLE, Means, Throttle

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lead import Lead
    from carbon_trainer.session import RunSession

SLICE_S = 0.2
"""How long it sleeps at a time between steps, seconds: signals are to be answered soon."""


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
        self._pacing = DUTY_CYCLE
        self._step_ended_s: float | None = None
        self._session: RunSession | None = None
        self.throttle: Throttle | None = None

    def joined(self, lead: Lead, trainer: Trainer) -> None:
        """Find out what this machine permits, and set what was asked for."""
        self._session = lead.session if lead.records else None
        self._step_ended_s = None
        if self._means == "off":
            return
        gpus = lead.gpus
        if gpus is None:
            gpus = tuple(source.describe().device for source in discover_gpus())
        self.throttle = Throttle(gpus, means=self._means, say=self._said)
        self._pacing = self.throttle.means
        if self._share < 1:
            self.throttle.apply(self._share)
            self._said(f"training at {self.throttle.text(self._share)}")

    def power(self, lead: Lead, share: float, means: str) -> None:
        """Train at another setting from now on."""
        self._pacing = means
        if self.throttle is None or share == self.throttle.share:
            return
        before = self.throttle.text(self.throttle.share)
        self.throttle.apply(share)
        if self._session is not None:
            now = self.throttle.text(share)
            self._session.put(
                Decision(
                    decision="power", why=f"{before} before, {now} from here on",
                    figures={"share": share},
                )
            )  # fmt: skip

    def step_done(self, lead: Lead, trainer: Trainer, batch_index: int) -> None:
        """Space steps out where that is how power is turned down."""
        throttle = self.throttle
        if throttle is None or throttle.means != DUTY_CYCLE or self._pacing != DUTY_CYCLE:
            return
        now_s = time.monotonic()
        if self._step_ended_s is not None and not lead.disturbed:
            self._sleep(lead, throttle.pause_between_steps_s(now_s - self._step_ended_s))
        self._step_ended_s = time.monotonic()

    def left(self) -> None:
        """Put everything back."""
        throttle, self.throttle = self.throttle, None
        if throttle is not None:
            throttle.restore()

    def _sleep(self, lead: Lead, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if any(part.signal() for part in lead.parts):
                return
            time.sleep(min(left_s, SLICE_S))

    def _said(self, sentence: str) -> None:
        if self._session is not None:
            self._session.say(sentence)
            self._session.put(Decision(decision="power", why=sentence))
