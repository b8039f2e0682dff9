"""``carbon-train runs correct | state | instrument``: amendments to a recorded run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.cli.options import ledger_options
from carbon_trainer.ledger.terms import OPERATIONS

Command = Callable[..., Any]


def _author_option(command: Command) -> Command:
    option = click.option(
        "--by", metavar="NAME", help="Author of the record.  [default: login name]"
    )
    return option(command)


@click.command("correct")
@click.argument("run", shell_complete=complete.runs)
@click.option("--record", "seq", type=int, required=True, help="Number of the record to correct.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="FIELD=VALUE",
    help="Corrected value; repeatable.",
)
@click.option("--reason", required=True, help="Reason for the correction.")
@_author_option
@ledger_options
def correct(**flags: Any) -> None:
    """Correct one of RUN's records; the original is kept."""
    from carbon_trainer.cli.actions import amend

    amend.correct(**flags)


@click.command("state")
@click.argument("run", shell_complete=complete.runs)
@click.option(
    "--operation",
    type=click.Choice(OPERATIONS),
    required=True,
    help="Operational control of the machines: own (scope 2), cloud (scope 3 category 1) or "
    "colocation (scope 3 category 8).",
)
@click.option("--organisation", default="", help="Reporting organisation.")
@click.option("--provider", default="", help="Cloud or colocation provider.")
@click.option("--region", default="", help="Region of the provider.")
@_author_option
@ledger_options
def state(**flags: Any) -> None:
    """State who operated RUN's machines, for the GHG scope."""
    from carbon_trainer.cli.actions import amend

    amend.state(**flags)


@click.command("instrument")
@click.argument("run", shell_complete=complete.runs)
@click.argument("file", type=click.Path(path_type=Path))
@_author_option
@ledger_options
def instrument(**flags: Any) -> None:
    """Record a contractual instrument for RUN's electricity.

    Keys of FILE (YAML): instrument, registry, serial, vintage, market, rate_gco2e_per_kwh;
    optional: energy_kwh and source (wind, solar, hydro, nuclear …).
    """
    from carbon_trainer.cli.actions import amend

    amend.instrument(**flags)
