"""A pause of seconds or of days, in process: all ranks stand still together and answer signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.agreement import Action, Pause, Train
from carbon_trainer.clock import Clock, SystemClock
from carbon_trainer.ledger.facts import Decision

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lead import Lead
    from carbon_trainer.session import RunSession

SLICE_S = 0.5
"""How long ranks sleep at a time, seconds: signals are to be answered within one."""


def wait_together(
    lead: Lead, trainer: Trainer, pause: Pause, decided: Callable[[], Action | None]
) -> Action:
    """Stand still until it is decided otherwise.

    Every rank asks ``decided`` in each slice. That is a collective over a gloo group of ours: the
    ranks keep in touch, and no group of training's is waited in, so that none can time out.

    Args:
        lead: this rank's.
        trainer: its trainer.
        pause: what was decided.
        decided: says what all ranks do next; None for waiting on.

    Returns:
        What ended the pause.
    """
    session = lead.session if lead.records else None
    clock: Clock = session.clock if session is not None else SystemClock()
    began_ns = clock.now_ns()
    lead.waiting_since_ns = began_ns
    lead.set_phase("pause")
    if session is not None:
        session.waiting_until_ns = pause.until_ns
        session.put(Decision(decision="pause", why=pause.why, figures={"until_ns": pause.until_ns}))
    ended: Action | None = None
    while ended is None:
        clock.wait(SLICE_S)
        ended = decided()
        if ended is None and trainer.world_size == 1 and trainer.received_sigterm:
            # Lightning noted it, and ends training after the batch.
            ended = Train("SIGTERM")
    lead.set_phase("train")
    lead.waited_ns, lead.waiting_since_ns = lead.waited_until(clock.now_ns()), None
    if session is not None:
        _record_end(session, ended, clock.now_ns() - began_ns)
    return ended


def _record_end(session: RunSession, ended: Action, waited_ns: int) -> None:
    session.waiting_until_ns = None
    why = ended.why if isinstance(ended, Train) else "it was stopped"
    session.put(Decision(decision="go on", why=why, figures={"waited_s": waited_ns / 1e9}))
