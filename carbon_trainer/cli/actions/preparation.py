"""A dataset being prepared, as a person at the terminal sees it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.curation.job import Prepared, prepare_data
from carbon_trainer.curation.prepare import reasons_text
from carbon_trainer.curation.progress import progress_display
from carbon_trainer.data.curated import removed_by_reason
from carbon_trainer.errors import InputError
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.reports.build import write_run_report
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.figures.text import figure_text
from carbon_trainer.runs.signals import Interrupted, Interrupts, exit_status_of, signal_name


def prepare_dataset(config: PrepareConfig) -> int:
    """Prepare a dataset and print how that ended; return the exit status."""
    ZoneFactors().intensity(config.zone)
    console = Console(highlight=False)
    try:
        with Interrupts() as interrupts, progress_display(console, config.progress) as show:
            result = prepare_data(
                config,
                say=lambda text: console.print(escape(text), soft_wrap=True),
                show=show,
                interrupts=interrupts,
            )
    except Interrupted as signal:
        # While a run is open a signal is one of its outcomes; here none was open yet.
        console.print(f"interrupted: {signal_name(signal.signal_number)} before the run was opened")
        return exit_status_of(signal.signal_number)
    for line in _closing_lines(config, result):
        console.print(escape(line), soft_wrap=True)
    return result.outcome.exit_status


def _closing_lines(config: PrepareConfig, result: Prepared) -> list[str]:
    """Write the run's report, and return the lines to print at the end."""
    outcome, sheet, session = result.outcome, result.sheet, result.session
    lines = [f"{outcome.status}: {outcome.reason.rstrip('.')}."]
    if sheet is not None:
        data, run_id = sheet["data"], sheet["preparation"]["run_id"]
        documents_read = sum(source["documents_read"] for source in sheet["sources"])
        reasons = reasons_text(removed_by_reason(sheet)) or "none"
        lines.append(
            f"{data['documents']:,} of {documents_read:,} documents kept in {config.to}; removed: "
            f"{reasons}."
        )
        lines.append(f"datasheet: {Path(config.to or '') / 'datasheet.md'}, run {run_id}")
    elif outcome.status in ("budget", "interrupted"):
        condition = " with a larger budget" if outcome.status == "budget" else ""
        lines.append(f"resume{condition}: run the same command again")
    if session is not None:
        figures = run_figures(session.ledger, session.run_id)
        lines += [
            f"{figure.label}: {figure_text(figure)} ({figure.method})"
            for figure in (figures.energy, figures.emissions)
        ]
        try:
            paths = write_run_report(session.ledger, session.run_id, session.run_dir)
            lines.append(f"report: {paths['html']}")
        except InputError as error:
            lines.append(f"the report could not be written: {error}")
    if sheet is not None:
        lines.append(f"train on it: carbon-train fit --data {config.to}")
    return lines
