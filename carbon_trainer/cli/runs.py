"""``carbon-train runs``: the runs in the ledger."""

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
    help="Public key that the reports must be signed with.",
)
@ledger_options
def verify_runs(**flags: Any) -> None:
    """Verify the records and the report of RUN, or of all runs.

    Each record's hash covers the record before it, and the report holds the last hash, so that
    edits and truncation are found. All figures of the report are recomputed from the raw records,
    and its signature, if any, is verified. Exit status 1 if anything is wrong.
    """
    from carbon_trainer.cli.actions import runs

    runs.verify_runs(**flags)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--user", default="", help="User the runs are attributed to.")
@ledger_options
def import_runs(**flags: Any) -> None:
    """Import CodeCarbon's emissions.csv, one run per row.

    Importing the same file again changes nothing.
    """
    from carbon_trainer.cli.actions import runs

    runs.import_runs(**flags)


@command.command("recover")
@click.argument("file", type=click.Path(path_type=Path))
@ledger_options
def recover_records(**flags: Any) -> None:
    """Recover records that were saved beside a full ledger.

    FILE is the unwritten-RUN.jsonl that a run leaves in its folder if the disk was full or the
    ledger locked until the end.
    """
    from carbon_trainer.cli.actions import runs

    runs.recover_records(**flags)


@command.command("resume-now")
@ledger_options
@click.argument("run", shell_complete=complete.runs)
def resume_now(**flags: Any) -> None:
    """Resume RUN now, if it is waiting for a cleaner grid.

    A run that is paused or released on this machine resumes within a second; one that is released
    in Slurm becomes eligible to start.
    """
    from carbon_trainer.cli.actions import runs

    runs.resume_now(**flags)


for amendment in (amend.correct, amend.state, amend.instrument):
    command.add_command(amendment)
