"""What to do when something of ours breaks, and how a run ends that an exception ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.runs.outcome import Outcome
from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)


def shielded(event: str, call: Callable[[], Any], failed: Callable[[str, Exception], None]) -> None:
    """Call something of ours; our own bug never ends the user's training.

    Args:
        event: what is being done, for the record.
        call: does it.
        failed: is told what broke; see ``note_failure``.

    Raises:
        CarbonTrainerError: what was meant for the user goes to the user.
    """
    try:
        call()
    except CarbonTrainerError:
        raise
    except Exception as error:
        log.debug("carbon-trainer's %s", event, exc_info=True)
        failed(event, error)


def note_failure(session: RunSession | None, event: str, error: Exception) -> None:
    """Something of ours broke: the record says so, and a budget no longer holds."""
    if session is not None:
        why = f"{type(error).__name__}: {error}"
        session.record_gap(f"carbon-trainer's {event}", why)
        session.meter_loss = session.meter_loss or why


def outcome_of(exception: BaseException) -> Outcome:
    """Return how a run ends that an exception ended."""
    if isinstance(exception, KeyboardInterrupt):
        return Outcome("interrupted", 130, "interrupted from the keyboard")
    if isinstance(exception, SystemExit):
        return Outcome("interrupted", 143, f"{type(exception).__name__} ended the process")
    message = " ".join(str(exception).split())[:500]
    return Outcome("failed", 1, f"{type(exception).__name__}: {message}".rstrip(": "))
