"""Training at the power that is asked for, by what the machine permits, in any framework."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.power.throttle import DUTY_CYCLE, Mechanism, Throttle
from carbon_trainer.runs.session import RunSession

SLICE_S = 0.2
"""How long it sleeps at a time between steps, seconds: a signal is answered within one."""


class PowerController:
    """Turns this rank's GPUs down and up again, or spaces its steps out.

    Args:
        gpus: UUIDs of the GPUs that this rank sets; None for all that it may use.
        mechanism: how; ``auto`` takes the first that is permitted.
        session: the run's record; None on ranks that keep none.
    """

    def __init__(
        self, gpus: Sequence[str] | None, mechanism: Mechanism, session: RunSession | None
    ) -> None:
        if gpus is None:
            gpus = [source.describe().device for source in discover_gpus()]
        self._session = session
        self._step_ended_s: float | None = None
        self.throttle = Throttle(gpus, mechanism=mechanism, say=self.notify)
        self._mechanism = self.throttle.mechanism

    def apply(self, power_fraction: float, mechanism: str) -> None:
        """Train at another setting from now on.

        Args:
            power_fraction: the setting, as a fraction of what was found.
            mechanism: how rank 0 does it.
        """
        self._mechanism = mechanism
        throttle = self.throttle
        if power_fraction == throttle.power_fraction:
            return
        before = throttle.text(throttle.power_fraction)
        throttle.apply(power_fraction)
        if self._session is not None:
            self._session.record(
                Decision(
                    decision="power",
                    why=f"{before} before, {throttle.text(power_fraction)} from here on",
                    figures={"share": power_fraction},
                )
            )

    def step_end(
        self, *, disturbed: bool, has_signal: Callable[[], object] = lambda: False
    ) -> None:
        """Space steps out where that is how power is turned down.

        Args:
            disturbed: something else took place since the step before.
            has_signal: whether a signal has to be answered.
        """
        if self.throttle.mechanism != DUTY_CYCLE or self._mechanism != DUTY_CYCLE:
            return
        now_s = time.monotonic()
        if self._step_ended_s is not None and not disturbed:
            _sleep(self.throttle.pause_between_steps_s(now_s - self._step_ended_s), has_signal)
        self._step_ended_s = time.monotonic()

    def close(self) -> None:
        """Restore what was found."""
        self.throttle.restore()

    def notify(self, sentence: str) -> None:
        """Tell people, and record it."""
        if self._session is not None:
            self._session.notify(sentence)
            self._session.record(Decision(decision="power", why=sentence))


def _sleep(seconds: float, has_signal: Callable[[], object]) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0 and not has_signal():
        time.sleep(min(left_s, SLICE_S))
