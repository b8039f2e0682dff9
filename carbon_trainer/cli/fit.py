"""``carbon-train fit``: trains a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.cli.options import config_options


@click.command("fit")
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=complete.runs,
    help="Resume a run: its id, an id's prefix, `last`, or a checkpoint's path. Its settings are "
    "reused unless overridden.",
)
@click.option("--print-config", is_flag=True, help="Print the resolved settings and exit.")
@click.option(
    "--run-id",
    metavar="ID",
    shell_complete=complete.runs,
    help="Id of the run: resumes it, with its settings, if it exists, else starts it, so that one "
    "command works for the first start and for every restart.",
)
@click.option(
    "--supervise",
    is_flag=True,
    help="Supervise the run: restart it after a crash and after a release.",
)
@click.option(
    "--max-restarts",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="With --supervise: restarts after crashes without progress.",
)
@config_options
def command(**flags: Any) -> None:
    """Train a transformer language model, metered and under a budget.

    RUN_FILE is YAML with the names below as keys (budget_kwh: 500); command-line flags override
    the file. Without --data it trains on the source code of Python's standard library.
    """
    from carbon_trainer.cli.actions.fit import fit

    fit(**flags)
