"""``carbon-train runs``: what the ledger knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import amend, complete
from carbon_trainer.cli.options import Verbs, ledger_options


@click.group("runs", cls=Verbs)
def command() -> None:
    """List, show, verify and amend recorded runs."""


@command.command("list")
@ledger_options
def list_runs(**flags: Any) -> None:
    """List the ledger's runs, oldest first."""
    from carbon_trainer.cli.actions import runs

    runs.list_runs(**flags)


@command.command("show")
@click.argument("run", shell_complete=complete.runs)
@ledger_options
def show(**flags: Any) -> None:
    """Print the report of RUN as Markdown."""
    from carbon_trainer.cli.actions import runs

    runs.show(**flags)


@command.command("verify")
@click.argument("run", required=False, shell_complete=complete.runs)
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY.PEM",
    help="Whose signature the reports should have.",
)
@ledger_options
def verify_runs(**flags: Any) -> None:
    """Check the records of RUN, or of all runs, and what their reports say.

    Each record's hash covers the one before it. The report in the run's folder holds the last
    hash, which shows whether the end was cut off; every figure in it is computed again from the
    raw records, and a signature beside it is checked. Exit status 1 if anything is wrong.
    """
    from carbon_trainer.cli.actions import runs

    runs.verify_runs(**flags)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--user", default="", help="Whom the runs are booked to.")
@ledger_options
def import_runs(**flags: Any) -> None:
    """Take the rows of CodeCarbon's emissions.csv FILE into the ledger, a run each.

    Taking the same file again changes nothing.
    """
    from carbon_trainer.cli.actions import runs

    runs.import_runs(**flags)


@command.command("recover")
@click.argument("file", type=click.Path(path_type=Path))
@ledger_options
def recover_records(**flags: Any) -> None:
    """Put the records of FILE, which a full or locked disk had refused, into the ledger."""
    from carbon_trainer.cli.actions import runs

    runs.recover_records(**flags)


@command.command("resume-now")
@ledger_options
@click.argument("run", shell_complete=complete.runs)
def resume_now(**flags: Any) -> None:
    """Ask RUN, which waits for a cleaner grid, to go on at once.

    A run that pauses or is released here goes on within a second; one that is released in Slurm
    becomes eligible to start.
    """
    from carbon_trainer.cli.actions import runs

    runs.resume_now(**flags)


for amendment in (amend.correct, amend.state, amend.instrument):
    command.add_command(amendment)
