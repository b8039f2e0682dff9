"""A run from its opening to its closing, however the work within ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.runs.failure import failure
from carbon_trainer.runs.outcome import FINISHED, Outcome
from carbon_trainer.runs.session import Config, RunSession
from carbon_trainer.runs.signals import Interrupted, Interrupts, exit_status_of, signal_name

Result = TypeVar("Result")


class RunStopped(Exception):  # noqa: N818 - not an error: an orderly end
    """The work of a run ends here, in the way that the outcome says."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def interruption(signal_number: int, when: str = "") -> Outcome:
    """Return how a segment ends that a signal has ended.

    Args:
        signal_number: the signal.
        when: what it interrupted: ``in training``.
    """
    reason = f"{signal_name(signal_number)} {when}".rstrip()
    return Outcome("interrupted", exit_status_of(signal_number), reason)


def run_recorded(
    open_session: Callable[[], RunSession[Config]],
    work: Callable[[RunSession[Config]], Result],
    interrupts: Interrupts,
    *,
    finished: Outcome = FINISHED,
    when: Callable[[RunSession[Config]], str] = lambda _: "",
) -> tuple[RunSession[Config], Result | None]:
    """Open a run, do its work, and close it with the outcome that the work has.

    Args:
        open_session: opens the run.
        work: what is done while it is open; may end early by RunStopped.
        interrupts: where signals are noted.
        finished: the outcome where nothing ends the work early.
        when: says what a signal has interrupted.

    Returns:
        The closed session, whose ``outcome`` says how it ended, and what the work has returned;
        None where it ended early.

    Raises:
        CarbonTrainerError: if something cannot be used, in opening or at work.
    """
    # A signal raised while the session opens would leave one that nobody can close.
    interrupts.hold()
    session = open_session()
    outcome, result = finished, None
    try:
        # Why this is not a context manager: this may end the run before its work begins.
        interrupts.raise_pending()
        result = work(session)
    except RunStopped as stop:
        outcome = stop.outcome
    except Interrupted as signal:
        outcome = interruption(signal.signal_number, when(session))
    except CarbonTrainerError as error:
        outcome = Outcome("failed", error.exit_status, str(error))
        raise
    except Exception as error:  # noqa: BLE001 - said in one sentence; the traceback is in a file
        outcome = failure(session, error)
    finally:
        # The run has ended: a signal that comes now must not end its closing too.
        interrupts.hold()
        session.close(outcome)
    return session, result
