"""How a run ends by what nobody had foreseen: in a sentence, with the traceback in a file."""

from __future__ import annotations

import traceback

from carbon_trainer.runs.outcome import Outcome
from carbon_trainer.runs.session import Config, RunSession

NO_DETERMINISTIC_KERNEL = "does not have a deterministic implementation"
"""In the message of torch's error where ``--deterministic`` cannot be kept."""


def failure(session: RunSession[Config], error: Exception) -> Outcome:
    """Return the outcome of a run that failed, and keep the traceback in its folder.

    A disk that refuses that file too changes nothing.
    """
    path = session.run_dir / "traceback.txt"
    where = f"; the traceback is in {path}"
    try:
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError as disk_error:
        where = f"; its traceback could not be written ({disk_error})"
    message = " ".join(str(error).split())[:300]
    if NO_DETERMINISTIC_KERNEL in message:
        message = f"{message.partition(',')[0]}; train it without --deterministic"
    step = f"at step {session.step}: " if session.step else ""
    return Outcome("failed", 1, f"{step}{type(error).__name__}: {message}{where}")
