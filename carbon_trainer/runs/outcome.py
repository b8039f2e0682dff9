"""Where a run goes on and how it ends. Imports nothing heavy: supervisors and commands read it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from carbon_trainer.clock import Clock, to_datetime


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a run goes on.

    Attributes:
        run_id: the run.
        checkpoint: the file or folder to go on from; None to begin again from step 0.
        step: optimizer steps done there.
        energy_mj: the energy that the checkpoint knows to have been used.
        tokens: tokens trained on until then.
    """

    run_id: str
    checkpoint: str | None
    step: int
    energy_mj: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a segment of a run ends.

    Its status is ``finished``, ``budget``, ``released``, ``interrupted`` or ``failed``.
    """

    status: str
    exit_status: int
    reason: str


RELEASED_STATUS = 75
"""EX_TEMPFAIL of sysexits.h: what was asked for is to be done later."""

SUPERVISED = "CARBON_TRAINER_SUPERVISED"
"""In the environment of a run that somebody brings back after it has released: the run's id."""

RESUME_NOW = "resume-now"
"""The file in a run's folder by which somebody asks it not to wait any longer."""


def asked_to_resume(run_dir: Path) -> bool:
    """Say whether somebody has asked a waiting run to go on; the request counts once."""
    try:
        (run_dir / RESUME_NOW).unlink()
    except FileNotFoundError:
        return False
    return True


FINISHED = Outcome("finished", 0, "all steps are done")


def budget_reached(reason: str) -> Outcome:
    """Return how a segment ends that its budget has ended."""
    return Outcome("budget", 3, reason)


def new_run_id(clock: Clock) -> str:
    """Return an id for a run that begins now."""
    return f"{to_datetime(clock.now_ns()):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
