"""A dataset being prepared, as a person at the terminal sees it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.curation.job import Prepared, prepare_data
from carbon_trainer.curation.prepare import reasons_text
from carbon_trainer.curation.progress import shown
from carbon_trainer.data.prepared import removed
from carbon_trainer.errors import InputError
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.reports.build import write_run_report
from carbon_trainer.reports.figures import run_figures
from carbon_trainer.reports.text import figure_text
from carbon_trainer.runs.signals import Interrupted, Interrupts, exit_status_of, signal_name


def prepare_dataset(config: PrepareConfig) -> int:
    """Prepare a dataset and print how that ended; return the exit status."""
    ZoneFactors().intensity(config.zone)
    console = Console(highlight=False)
    try:
        with Interrupts() as interrupts, shown(console, config.progress) as show:
            done = prepare_data(
                config,
                say=lambda text: console.print(escape(text), soft_wrap=True),
                show=show,
                interrupts=interrupts,
            )
    except Interrupted as signal:
        # Within the run it is an outcome; here nothing had been begun.
        console.print(f"interrupted: {signal_name(signal.signal_number)} before the run was opened")
        return exit_status_of(signal.signal_number)
    for line in _closing(config, done):
        console.print(escape(line), soft_wrap=True)
    return done.outcome.exit_status


def _closing(config: PrepareConfig, done: Prepared) -> list[str]:
    """Return what is said at the end, and write the run's report."""
    lines = [f"{done.outcome.status}: {done.outcome.reason.rstrip('.')}."]
    if done.sheet is not None:
        data, made = done.sheet["data"], done.sheet["preparation"]
        read = sum(source["documents_read"] for source in done.sheet["sources"])
        out = reasons_text(removed(done.sheet)) or "none"
        lines.append(
            f"{data['documents']:,} of {read:,} documents kept in {config.to}; left out: {out}."
        )
        lines.append(f"datasheet: {Path(config.to or '') / 'datasheet.md'}, run {made['run_id']}")
    elif done.outcome.status in ("budget", "interrupted"):
        more = " with a larger budget" if done.outcome.status == "budget" else ""
        lines.append(f"go on{more}: give the same command again")
    if done.session is not None:
        figures = run_figures(done.session.ledger, done.session.run_id)
        lines += [
            f"{one.label}: {figure_text(one)} ({one.method})"
            for one in (figures.energy, figures.emissions)
        ]
        try:
            paths = write_run_report(done.session.ledger, done.session.run_id, done.session.run_dir)
            lines.append(f"report: {paths['html']}")
        except InputError as error:
            lines.append(f"no report could be written: {error}")
    if done.sheet is not None:
        lines.append(f"train on it: carbon-train fit --data {config.to}")
    return lines
