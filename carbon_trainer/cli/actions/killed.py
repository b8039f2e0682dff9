"""Completing what a run lacks whose process was killed after its last step."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from carbon_trainer.cli.actions.closing import REFUSALS, plainly, report_line
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
from carbon_trainer.runs.recovery import recover_killed, take_unwritten

log = logging.getLogger(__name__)


def complete_killed(config: RunConfig, point: ResumePoint) -> list[str]:
    """Complete the record and the report of a run that has nothing left to train.

    Args:
        config: where the run's folder and its ledger are.
        point: the checkpoint that the user wants to go on from.

    Returns:
        What was done, to be printed; nothing where nothing is missing, where the process may be
        alive or was on another machine, or where the run itself has steps left.

    Raises:
        CarbonTrainerError: if the ledger cannot be read or refuses the closing record.
    """
    location = location_of(config.ledger, config.runs_dir)
    if "://" not in location and not Path(location).exists():
        # The checkpoint was brought here without its record.
        return []
    ledger = Ledger.open(location, create=False)
    try:
        return _complete(ledger, config.runs_dir, point)
    finally:
        ledger.close()


def _complete(ledger: Ledger, runs_dir: Path, point: ResumePoint) -> list[str]:
    run_dir = runs_dir / point.run_id
    _recover(ledger, runs_dir, point.run_id)
    state = last_state(ledger.facts(point.run_id, *STATES))
    if state is None:
        return []
    if state.kind == RunClosed.kind:
        # It may have been killed while its report was being written.
        is_valid = state.body["status"] != FINISHED.status or (run_dir / "report.html").exists()
        return [] if is_valid else [report_line(ledger, point.run_id, run_dir)]
    if state.kind != Decision.kind or not _is_the_end(ledger, run_dir, point):
        return []
    closed = RunClosed(
        status=FINISHED.status,
        exit_status=FINISHED.exit_status,
        reason=f"{FINISHED.reason}; the process was killed before it had recorded that",
        step=point.step,
        tokens=point.tokens,
        checkpoint=point.checkpoint,
    )
    _append(ledger, point.run_id, [*_missing(ledger, point), closed])
    return [f"{closed.status}: {closed.reason}.", report_line(ledger, point.run_id, run_dir)]


def _recover(ledger: Ledger, runs_dir: Path, run_id: str) -> None:
    """Record what killed runs have used; a fault of another run's is not this one's."""
    try:
        recover_killed(runs_dir, ledger, SystemClock())
    except REFUSALS as error:
        log.warning("the energy of killed runs could not be recorded: %s", plainly(error))
    if not (runs_dir / run_id / HEARTBEAT_FILE).exists():
        take_unwritten(ledger, runs_dir / run_id, run_id)


def _is_the_end(ledger: Ledger, run_dir: Path, point: ResumePoint) -> bool:
    """Say whether a checkpoint is the run's last and has all the steps that the run was to do.

    The user may have named an older checkpoint, or fewer steps than the run has.
    """
    newest = latest_valid(run_dir / "checkpoints")
    if newest is None or point.checkpoint is None:
        return False
    steps = _settings(ledger, point.run_id).get("max_steps")
    is_newest = newest.resolve() == Path(point.checkpoint).resolve()
    return is_newest and steps is not None and point.step >= steps


def _missing(ledger: Ledger, point: ResumePoint) -> list[Fact]:
    """Return the gaps in what was recorded of the last steps."""
    why = "the process was killed before it had recorded"
    last = ledger.last(point.run_id, Progress)
    recorded = 0 if last is None else int(last.body["step"])
    validated = last is not None and last.body["validation_loss"] is not None
    gaps: list[Fact] = []
    if recorded < point.step:
        what = f"losses of steps {recorded + 1:,} to {point.step:,}"
        gaps.append(Incomplete(what=what, why=f"{why} them"))
    every = int(_settings(ledger, point.run_id).get("validate_every") or 0)
    is_due = every > 0 and point.step % every == 0
    if is_due and (recorded < point.step or not validated):
        gaps.append(Incomplete(what="validation after the last step", why=f"{why} its result"))
    return gaps


def _settings(ledger: Ledger, run_id: str) -> dict[str, Any]:
    """Return the settings that the run had last."""
    settings: dict[str, Any] = ledger.facts(run_id, RunOpened, Resumed)[-1].body["config"]
    return settings


def _append(ledger: Ledger, run_id: str, facts: list[Fact]) -> None:
    now_ns = SystemClock().now_ns()
    try:
        ledger.append(run_id, [(now_ns, fact) for fact in facts], ledger.head(run_id))
    except DBAPIError as error:
        raise CarbonTrainerError(
            f"the record of run {run_id} could not be completed ({plainly(error)}): give the same "
            "command again."
        ) from error
