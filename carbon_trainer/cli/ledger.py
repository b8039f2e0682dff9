"""``carbon-train ledger``: bring ledgers together, and up to date."""

from __future__ import annotations

from typing import Any

import click

from carbon_trainer.cli.options import Verbs, ledger_options


@click.group("ledger", cls=Verbs)
def command() -> None:
    """Bring ledgers together, or one of an earlier version up to date."""


@command.command("merge")
@click.argument("sources", nargs=-1, required=True)
@click.option("--into", required=True, metavar="PLACE", help="The ledger that takes the runs.")
def merge_ledgers(**flags: Any) -> None:
    """Bring the runs of SOURCES (files or database URLs) into one ledger.

    Records keep their hashes; a merge that is done again changes nothing. A run that is broken,
    or that both ledgers have with different facts, is left alone and named: exit status 1.
    """
    from carbon_trainer.cli.actions import ledger

    ledger.merge_ledgers(**flags)


@command.command("upgrade")
@ledger_options
def upgrade(**flags: Any) -> None:
    """Bring an earlier carbon-trainer's database to this schema; files are by themselves."""
    from carbon_trainer.cli.actions import ledger

    ledger.upgrade(**flags)


@command.command("rebuild-sums")
@ledger_options
def rebuild_sums(**flags: Any) -> None:
    """Make the sums that portfolios read anew from the intervals, where they differ.

    They differ where an earlier carbon-trainer has written beside this one, or somebody has
    changed them; `runs verify` tells.
    """
    from carbon_trainer.cli.actions import ledger

    ledger.rebuild_sums(**flags)


@command.command("create")
@click.argument("place")
def create(place: str) -> None:
    """Make an empty ledger at PLACE, a file or a database URL, with the rights to make tables."""
    from carbon_trainer.cli.actions import ledger

    ledger.create(place)
