"""``carbon-train ledger``: bring ledgers together, and up to date."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from carbon_trainer.cli.options import Verbs, ledger_options, open_ledger
from carbon_trainer.ledger import migrate, schema
from carbon_trainer.ledger.engine import engine_of
from carbon_trainer.ledger.location import without_password
from carbon_trainer.ledger.merge import merge
from carbon_trainer.ledger.store import Ledger


@click.group("ledger", cls=Verbs)
def command() -> None:
    """Bring ledgers together, or one of an earlier version up to date."""


@command.command("merge")
@click.argument("sources", nargs=-1, required=True)
@click.option("--into", required=True, metavar="PLACE", help="The ledger that takes the runs.")
def merge_ledgers(sources: Sequence[str], into: str) -> None:
    """Bring the runs of SOURCES (files or database URLs) into one ledger.

    Records keep their hashes; a merge that is done again changes nothing. A run that is broken,
    or that both ledgers have with different facts, is left alone and named: exit status 1.
    """
    target = Ledger.open(into)
    refused = 0
    for place in sources:
        source = Ledger.open(place, create=False)
        found = merge(source, target)
        source.close()
        for run in found:
            if run.problem:
                refused += 1
                click.echo(f"{run.run_id}: NOT MERGED: {run.problem}.")
        new = [run for run in found if run.added]
        records = sum(run.added for run in new)
        click.echo(
            f"{without_password(place)}: {len(found)} runs, {len(new)} of them brought or "
            f"continued ({records} records)."
        )
    sys.exit(1 if refused else 0)


@command.command("upgrade")
@ledger_options
def upgrade(ledger: str | None, runs_dir: str | None) -> None:
    """Bring an earlier carbon-trainer's database to this schema; files are by themselves."""
    source = open_ledger(ledger, runs_dir, upgrade=True)
    click.echo(f"{source.name} has schema {schema.SCHEMA_VERSION}.")


@command.command("rebuild-sums")
@ledger_options
def rebuild_sums(ledger: str | None, runs_dir: str | None) -> None:
    """Make the sums that portfolios read anew from the intervals, where they differ.

    They differ where an earlier carbon-trainer has written beside this one, or somebody has
    changed them; `runs verify` tells.
    """
    source = open_ledger(ledger, runs_dir)
    for run_id in source.run_ids():
        found = source.rebuild_sums(run_id)
        if found:
            click.echo(f"{run_id}: made anew: {found}")
    click.echo("The sums of all runs are those of their intervals.")


@command.command("create")
@click.argument("place")
def create(place: str) -> None:
    """Make an empty ledger at PLACE, a file or a database URL, with the rights to make tables."""
    Ledger.open(place).close()
    engine = engine_of(place, create=False, fill=migrate.create)
    click.echo(f"{without_password(place)} is a ledger of schema {migrate.version_of(engine)}.")
    engine.dispose()
