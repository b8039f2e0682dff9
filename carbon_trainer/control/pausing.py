"""A pause of seconds or of days, in process: all ranks stand still together and answer signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from carbon_trainer.clock import Clock, SystemClock
from carbon_trainer.control.actions import Action, Pause, Train
from carbon_trainer.ledger.facts import Decision

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession

SLICE_S = 0.5
"""How long ranks sleep at a time, seconds: signals are to be answered within one."""

TRAIN, PAUSE = "train", "pause"


class Driver:
    """One rank's training, whichever framework does it, as far as it can be paused.

    Args:
        recorder: the run's record; None on ranks that keep none.
        waited_ns: how long earlier segments of the run have stood still.

    Attributes:
        training_phase: what steps are booked under.
        waiting: whether it stands still.
        waiting_since_ns: since when.
        waited_ns: how long it has stood still before, all segments of the run together.
        disturbed: whether something else than steps took place since the last one.
    """

    def __init__(self, recorder: RunSession | None, waited_ns: int = 0) -> None:
        self.recorder = recorder
        self.training_phase = TRAIN
        self.waiting = False
        self.waiting_since_ns: int | None = None
        self.waited_ns = waited_ns
        self.disturbed = True

    def waited_until(self, now_ns: int) -> int:
        """Return how long it has waited in all, nanoseconds."""
        since_ns = self.waiting_since_ns
        return self.waited_ns + (0 if since_ns is None else now_ns - since_ns)

    def set_phase(self, name: str) -> None:
        """Book what is used from now on under a phase."""
        raise NotImplementedError


def run_pause(
    driver: Driver,
    action: Action,
    decided: Callable[[], Action | None],
    ended: Callable[[], str | None] = lambda: None,
) -> Action:
    """Stand still as long as the action is a pause.

    Args:
        driver: this rank's training.
        action: what was decided.
        decided: says what all ranks do next; None for waiting on. Asked in each slice; that is a
            collective over a gloo group of ours: the ranks keep in touch, and no group of
            training's is waited in, so that none can time out.
        ended: says why a single process has to go on, whatever is decided; None for no reason.

    Returns:
        What is to be done then: never a pause.
    """
    while isinstance(action, Pause):
        driver.disturbed = driver.waiting = True
        action = _hold(driver, action, decided, ended)
        driver.waiting = False
    return action


def _hold(
    driver: Driver,
    pause: Pause,
    decided: Callable[[], Action | None],
    ended: Callable[[], str | None],
) -> Action:
    session = driver.recorder
    clock: Clock = session.clock if session is not None else SystemClock()
    began_ns = clock.now_ns()
    driver.waiting_since_ns = began_ns
    driver.set_phase(PAUSE)
    if session is not None:
        session.waiting_until_ns = pause.until_ns
        session.record(
            Decision(decision="pause", why=pause.why, figures={"until_ns": pause.until_ns})
        )
    action: Action | None = None
    while action is None:
        clock.wait(SLICE_S)
        action = decided()
        why = ended() if action is None else None
        if why is not None:
            action = Train(why)
    driver.set_phase(driver.training_phase)
    driver.waited_ns, driver.waiting_since_ns = driver.waited_until(clock.now_ns()), None
    if session is not None:
        _record_end(session, action, clock.now_ns() - began_ns)
    return action


def _record_end(session: RunSession, ended: Action, waited_ns: int) -> None:
    session.waiting_until_ns = None
    why = ended.why if isinstance(ended, Train) else "it was stopped"
    session.record(Decision(decision="go on", why=why, figures={"waited_s": waited_ns / 1e9}))
