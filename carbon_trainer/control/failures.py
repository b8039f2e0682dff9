"""Failures of our own, which never end training, and the outcome of a run that failed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.runs.outcome import Outcome
from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)


def shielded(event: str, call: Callable[[], Any], fail: Callable[[str, Exception], None]) -> None:
    """Call something of ours; our own bug never ends the user's training.

    Args:
        event: what is being done, for the record.
        call: does it.
        fail: takes what broke; see ``record_failure``.

    Raises:
        CarbonTrainerError: what was meant for the user goes to the user.
    """
    try:
        call()
    except CarbonTrainerError:
        raise
    except Exception as error:
        log.debug("carbon-trainer's %s", event, exc_info=True)
        fail(event, error)


def record_failure(session: RunSession | None, event: str, error: Exception) -> None:
    """Record a failure of our own; from then on a budget cannot be relied on."""
    if session is not None:
        why = f"{type(error).__name__}: {error}"
        session.record_gap(f"carbon-trainer's {event}", why)
        session.meter_loss = session.meter_loss or why


def outcome_of(exception: BaseException) -> Outcome:
    """Return the outcome of a run that an exception ended."""
    if isinstance(exception, KeyboardInterrupt):
        return Outcome("interrupted", 130, "interrupted from the keyboard")
    if isinstance(exception, SystemExit):
        return Outcome("interrupted", 143, f"{type(exception).__name__} ended the process")
    message = " ".join(str(exception).split())[:500]
    return Outcome("failed", 1, f"{type(exception).__name__}: {message}".rstrip(": "))
