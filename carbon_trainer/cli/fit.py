"""``carbon-train fit``: the main job."""

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
    help="Go on with a run: its id, the beginning of one, `last`, or a checkpoint's path. Its "
    "settings hold, except those given now.",
)
@click.option("--print-config", is_flag=True, help="Print the settings that would hold, and stop.")
@click.option(
    "--run-id",
    metavar="ID",
    shell_complete=complete.runs,
    help="The run's id: goes on with that run if there is one, with its settings, else begins it. "
    "The same command then serves the first start and every restart.",
)
@click.option(
    "--supervise",
    is_flag=True,
    help="Stay beside the run: start it again after a crash and after a release.",
)
@click.option(
    "--max-restarts",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="With --supervise: how many crashes without progress it is started again after.",
)
@config_options
def command(**flags: Any) -> None:
    """Train a transformer language model, metered and under a budget.

    RUN_FILE is YAML with the names below as keys (budget_kwh: 500); flags go before it. With no
    data named, it trains on the source of Python's own standard library.
    """
    from carbon_trainer.cli.actions.fit import fit

    fit(**flags)
