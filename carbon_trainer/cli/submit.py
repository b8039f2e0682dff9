"""``carbon-train submit``: a run as a requeueable Slurm job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import config_options


@click.command("submit")
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--sbatch",
    "sbatch_options",
    multiple=True,
    metavar="OPTION",
    help="Option for sbatch, such as --sbatch=--partition=gpu; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Print the batch script without submitting it.")
@config_options
def command(**flags: Any) -> None:
    """Submit a run to Slurm; RUN_FILE and the settings are those of fit.

    The job requeues itself when it is preempted, when its time limit is reached, and, with the
    planned start time, when it releases its nodes. It then resumes from its last checkpoint.
    """
    from carbon_trainer.cli.actions.submit import submit_run

    submit_run(**flags)
