"""``carbon-train runs correct | state | instrument``: what is said of a run after the event."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.cli.options import ledger_options
from carbon_trainer.ledger.terms import OPERATIONS

Command = Callable[..., Any]


def _by(command: Command) -> Command:
    return click.option("--by", metavar="NAME", help="Who says so.  [default: the login name]")(
        command
    )


@click.command("correct")
@click.argument("run", shell_complete=complete.runs)
@click.option("--record", "seq", type=int, required=True, help="Number of the wrong record.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="FIELD=VALUE",
    help="What is right; may be given several times.",
)
@click.option("--reason", required=True, help="Why the record is wrong.")
@_by
@ledger_options
def correct(**flags: Any) -> None:
    """Correct a record of RUN by a new one with a reason; the wrong one stays where it is."""
    from carbon_trainer.cli.actions import amend

    amend.correct(**flags)


@click.command("state")
@click.argument("run", shell_complete=complete.runs)
@click.option(
    "--operation",
    type=click.Choice(OPERATIONS),
    required=True,
    help="Whose machines it ran on: own (scope 2), cloud (scope 3 category 1) or colocation "
    "(scope 3 category 8).",
)
@click.option("--organisation", default="", help="Who reports the run.")
@click.option("--provider", default="", help="Of the cloud or the colocation.")
@click.option("--region", default="", help="The provider's region.")
@_by
@ledger_options
def state(**flags: Any) -> None:
    """State whose machines RUN was on, which decides the scope of its emissions."""
    from carbon_trainer.cli.actions import amend

    amend.state(**flags)


@click.command("instrument")
@click.argument("run", shell_complete=complete.runs)
@click.argument("file", type=click.Path(path_type=Path))
@_by
@ledger_options
def instrument(**flags: Any) -> None:
    """Book the contractual instrument in FILE (YAML) for RUN's electricity.

    FILE names instrument, registry, serial, vintage, market, rate_gco2e_per_kwh, energy_kwh and,
    where it is known, source (wind, solar, hydro, nuclear …).
    """
    from carbon_trainer.cli.actions import amend

    amend.instrument(**flags)
