"""Completes the record of a run whose process was killed after its last step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from carbon_trainer.cli.actions.closing import error_text, report_line
from carbon_trainer.clock import SystemClock
from carbon_trainer.config import RunConfig
from carbon_trainer.energy.heartbeat import FILE_NAME as HEARTBEAT_FILE
from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.ledger.facts import (
    Decision,
    Fact,
    Incomplete,
    Progress,
    Resumed,
    RunClosed,
    RunOpened,
)
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.state import STATES, last_state
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.runs.checkpoints import latest_valid
from carbon_trainer.runs.outcome import FINISHED, ResumePoint
from carbon_trainer.runs.recovery import recover_killed_or_warn, take_unwritten


def complete_killed(config: RunConfig, point: ResumePoint) -> list[str]:
    """Complete the record and the report of a run that has nothing left to train.

    Args:
        config: names the runs folder and the ledger.
        point: the checkpoint that the user wants to resume from.

    Returns:
        Lines to print about what was done. None if nothing is missing, if the process may be
        alive or ran on another machine, or if the run itself has steps left.

    Raises:
        CarbonTrainerError: if the ledger cannot be read, or the closing record not be written.
    """
    location = location_of(config.ledger, config.runs_dir)
    if "://" not in location and not Path(location).exists():
        # The checkpoint was copied here without its ledger.
        return []
    ledger = Ledger.open(location, create=False)
    try:
        return _complete(ledger, config.runs_dir, point)
    finally:
        ledger.close()


def _complete(ledger: Ledger, runs_dir: Path, point: ResumePoint) -> list[str]:
    run_dir = runs_dir / point.run_id
    recover_killed_or_warn(runs_dir, ledger, SystemClock())
    if not (run_dir / HEARTBEAT_FILE).exists():
        # A heartbeat that is still there may belong to a live process, which writes its records
        # itself.
        take_unwritten(ledger, run_dir, point.run_id)
    state = last_state(ledger.facts(point.run_id, *STATES))
    if state is None:
        return []
    if state.kind == RunClosed.kind:
        # The process may have been killed between the closing record and the report.
        is_complete = state.body["status"] != FINISHED.status or (run_dir / "report.html").exists()
        return [] if is_complete else [report_line(ledger, point.run_id, run_dir)]
    # Of the states that are not an end, only the decision of a recovery says that the process is
    # dead; after any other the run may be alive.
    if state.kind != Decision.kind:
        return []
    settings = _last_settings(ledger, point.run_id)
    if not _is_final_checkpoint(settings, run_dir, point):
        return []
    closed = RunClosed(
        status=FINISHED.status,
        exit_status=FINISHED.exit_status,
        reason=f"{FINISHED.reason}; the process was killed before it had recorded that",
        step=point.step,
        tokens=point.tokens,
        checkpoint=point.checkpoint,
    )
    _append(ledger, point.run_id, [*_gaps(ledger, settings, point), closed])
    return [f"{closed.status}: {closed.reason}.", report_line(ledger, point.run_id, run_dir)]


def _is_final_checkpoint(settings: Mapping[str, Any], run_dir: Path, point: ResumePoint) -> bool:
    """Return whether a checkpoint is the run's latest and has all of its steps.

    The user may have named an older checkpoint, or fewer steps than the run has.
    """
    latest = latest_valid(run_dir / "checkpoints")
    if latest is None or point.checkpoint is None:
        return False
    max_steps = settings.get("max_steps")
    is_latest = latest.resolve() == Path(point.checkpoint).resolve()
    return is_latest and max_steps is not None and point.step >= max_steps


def _gaps(ledger: Ledger, settings: Mapping[str, Any], point: ResumePoint) -> list[Fact]:
    """Return the gaps in the record of the last steps."""
    reason = "the process was killed before it had recorded"
    last = ledger.last(point.run_id, Progress)
    recorded = 0 if last is None else int(last.body["step"])
    validated = last is not None and last.body["validation_loss"] is not None
    gaps: list[Fact] = []
    if recorded < point.step:
        losses = f"losses of steps {recorded + 1:,} to {point.step:,}"
        gaps.append(Incomplete(what=losses, why=f"{reason} them"))
    validate_every = int(settings.get("validate_every") or 0)
    is_due = validate_every > 0 and point.step % validate_every == 0
    if is_due and (recorded < point.step or not validated):
        gaps.append(Incomplete(what="validation after the last step", why=f"{reason} its result"))
    return gaps


def _last_settings(ledger: Ledger, run_id: str) -> dict[str, Any]:
    """Return the settings of the run's last segment."""
    settings: dict[str, Any] = ledger.facts(run_id, RunOpened, Resumed)[-1].body["config"]
    return settings


def _append(ledger: Ledger, run_id: str, facts: list[Fact]) -> None:
    now_ns = SystemClock().now_ns()
    try:
        ledger.append(run_id, [(now_ns, fact) for fact in facts], ledger.head(run_id))
    except DBAPIError as error:
        raise CarbonTrainerError(
            f"the record of run {run_id} could not be completed ({error_text(error)}): run the "
            "same command again."
        ) from error
