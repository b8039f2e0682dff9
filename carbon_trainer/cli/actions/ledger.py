"""What ``carbon-train ledger`` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from carbon_trainer.cli.actions.location import open_ledger
from carbon_trainer.ledger import migrate, schema
from carbon_trainer.ledger.engine import engine_of
from carbon_trainer.ledger.location import without_password
from carbon_trainer.ledger.merge import merge
from carbon_trainer.ledger.store import Ledger


def merge_ledgers(sources: Sequence[str], into: str) -> None:
    """Bring the runs of several ledgers into one; exit status 1 if a run was left alone."""
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


def upgrade(ledger: str | None, runs_dir: str | None) -> None:
    """Bring an earlier database to this schema."""
    source = open_ledger(ledger, runs_dir, upgrade=True)
    click.echo(f"{source.name} has schema {schema.SCHEMA_VERSION}.")


def rebuild_sums(ledger: str | None, runs_dir: str | None) -> None:
    """Compute the sums of all runs from their intervals, where they differ."""
    source = open_ledger(ledger, runs_dir)
    for run_id in source.run_ids():
        found = source.rebuild_sums(run_id)
        if found:
            click.echo(f"{run_id}: made anew: {found}")
    click.echo("The sums of all runs are those of their intervals.")


def create(place: str) -> None:
    """Make an empty ledger."""
    Ledger.open(place).close()
    engine = engine_of(place, create=False, fill=migrate.create)
    click.echo(f"{without_password(place)} is a ledger of schema {migrate.version_of(engine)}.")
    engine.dispose()
