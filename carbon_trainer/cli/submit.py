"""``carbon-train submit``: the main job as a Slurm job that may wait and comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import config_options


@click.command("submit")
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--sbatch",
    "more",
    multiple=True,
    metavar="OPTION",
    help="An option for sbatch, such as --sbatch=--partition=gpu or --sbatch=--gres=gpu:4.",
)
@click.option("--dry-run", is_flag=True, help="Print the batch script and send nothing.")
@config_options
def command(**flags: Any) -> None:
    """Send a run to Slurm; RUN_FILE and the settings are those of fit.

    The job is put back into the queue when it releases its nodes, with the planned start, and
    when Slurm pre-empts it or its time is up; it goes on from its last checkpoint.
    """
    from carbon_trainer.cli.actions.submit import submit_run

    submit_run(**flags)
