"""A pause of seconds or of days, in process: all ranks pause together and answer signals."""

from __future__ import annotations

from collections.abc import Callable

from carbon_trainer.clock import Clock, SystemClock
from carbon_trainer.control.actions import Action, Pause, Train
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.runs.session import RunSession

SLICE_S = 0.5
"""How long ranks sleep at a time, seconds: a signal is answered within one."""

PAUSE = "pause"
"""The phase of a pause."""


class PauseState:
    """Whether and how long a run has paused.

    Args:
        paused_ns: how long earlier segments of the run have paused.

    Attributes:
        is_paused: whether it is paused now.
        paused_ns: how long it has paused before this pause, all segments of the run together.
    """

    def __init__(self, paused_ns: int = 0) -> None:
        self.is_paused = False
        self.paused_ns = paused_ns
        self._since_ns: int | None = None

    def total_ns(self, now_ns: int) -> int:
        """Return how long it has paused in all, nanoseconds."""
        return self.paused_ns + (0 if self._since_ns is None else now_ns - self._since_ns)

    def begin(self, now_ns: int) -> None:
        """Count from here."""
        self.is_paused, self._since_ns = True, now_ns

    def end(self, now_ns: int) -> int:
        """Return how long this pause was, nanoseconds."""
        total_ns = self.total_ns(now_ns)
        lasted_ns, self.paused_ns = total_ns - self.paused_ns, total_ns
        self.is_paused, self._since_ns = False, None
        return lasted_ns


def run_pause(
    pause: Pause,
    state: PauseState,
    session: RunSession | None,
    set_phase: Callable[[str], None],
    next_action: Callable[[], Action | None],
) -> Action:
    """Pause until all ranks decide otherwise.

    Args:
        pause: what was decided.
        state: counts the time.
        session: the run's record; None on ranks that keep none.
        set_phase: records what is used from then on under a phase.
        next_action: what all ranks do next; None for pausing on. Asked in each slice; that is a
            collective over a gloo group of ours: the ranks keep in touch, and no group of
            training's is waited in, so that none can time out.

    Returns:
        What ends the pause.
    """
    clock: Clock = session.clock if session is not None else SystemClock()
    state.begin(clock.now_ns())
    set_phase(PAUSE)
    if session is not None:
        session.waiting_until_ns = pause.until_ns
        figures = {"until_ns": pause.until_ns}
        session.record(Decision(decision="pause", why=pause.why, figures=figures))
    action: Action | None = None
    while action is None:
        clock.wait(SLICE_S)
        action = next_action()
    lasted_ns = state.end(clock.now_ns())
    if session is not None:
        session.waiting_until_ns = None
        why = action.why if isinstance(action, Train) else "it was stopped"
        session.record(Decision(decision="go on", why=why, figures={"waited_s": lasted_ns / 1e9}))
    return action
