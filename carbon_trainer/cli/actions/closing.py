"""What ``fit`` prints at the end: the outcome, the energy used, the path of the report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from carbon_trainer.clock import SystemClock
from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.ledger.engine import driver_message
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.build import write_run_report
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.render.summary import summary_rows
from carbon_trainer.runs.recovery import recover_killed
from carbon_trainer.training.fit import FitResult

LEDGER_ERRORS = (CarbonTrainerError, DBAPIError, OSError)
"""Errors of ledgers, databases and disks that are reported in one sentence."""


def print_closing(console: Console, result: FitResult) -> None:
    """Write the report, and print the closing table."""
    console.print(_table(result))
    for line in _lines(result):
        console.print(escape(line), soft_wrap=True)


def _table(result: FitResult) -> Table:
    table = Table(title=f"run {result.run_id}: {result.outcome.status}", title_justify="left")
    table.add_column("")
    table.add_column("figure ± one sigma", justify="right")
    table.add_column("method")
    for row in summary_rows(run_figures(result.session.ledger, result.run_id)):
        style = "bold" if row.is_total else None
        table.add_row(escape(row.label), row.value, row.method, style=style)
    return table


def _lines(result: FitResult) -> list[str]:
    outcome, checkpoint = result.outcome, result.session.last_checkpoint
    lines = [f"{outcome.status}: {outcome.reason.rstrip('.')}."]
    if checkpoint:
        lines.append(f"checkpoint: {checkpoint}")
    if checkpoint and outcome.status == "finished":
        lines.append(f"for transformers: carbon-train export {result.run_id}")
    if checkpoint and outcome.status not in ("finished", "released"):
        condition = " with a larger budget" if outcome.status == "budget" else ""
        lines.append(f"resume{condition}: carbon-train fit --resume {result.run_id}")
    lines.append(report_line(result.session.ledger, result.run_id, result.run_dir))
    return lines


def report_of_failure(run_id: str, runs_dir: Path) -> str:
    """Write the report of a run that is not restarted any more, and return a line with its path.

    The energy of killed segments is recovered first, so that the report includes it.
    """
    try:
        ledger = Ledger.open(location_of(None, runs_dir), create=False)
        try:
            recover_killed(runs_dir, ledger, SystemClock())
            return report_line(ledger, run_id, runs_dir / run_id)
        finally:
            ledger.close()
    except LEDGER_ERRORS as error:
        return f"the report could not be written: {error_text(error)}"


def error_text(error: Exception) -> str:
    """Return the message of one of ``LEDGER_ERRORS``, without SQLAlchemy's additions."""
    return driver_message(error) if isinstance(error, DBAPIError) else str(error)


def report_line(ledger: Ledger, run_id: str, run_dir: Path) -> str:
    """Write a run's report, and return a line with its path, or with the error."""
    try:
        return f"report: {write_run_report(ledger, run_id, run_dir)['html']}"
    except LEDGER_ERRORS as error:
        return f"the report could not be written: {error_text(error)}"
