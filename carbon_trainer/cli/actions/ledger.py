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
    """Merge the runs of several ledgers into one; exit status 1 if a run was skipped."""
    target = Ledger.open(into)
    skipped = 0
    for location in sources:
        source = Ledger.open(location, create=False)
        results = merge(source, target)
        source.close()
        for result in results:
            if result.problem:
                skipped += 1
                click.echo(f"{result.run_id}: NOT MERGED: {result.problem}.")
        changed = [result for result in results if result.added]
        records = sum(result.added for result in changed)
        click.echo(
            f"{without_password(location)}: {len(results)} runs, {len(changed)} added or extended "
            f"({records} records)."
        )
    sys.exit(1 if skipped else 0)


def upgrade(ledger: str | None, runs_dir: str | None) -> None:
    """Migrate a database of an earlier version to this schema."""
    source = open_ledger(ledger, runs_dir, upgrade=True)
    click.echo(f"{source.name} has schema {schema.SCHEMA_VERSION}.")


def rebuild_sums(ledger: str | None, runs_dir: str | None) -> None:
    """Recompute the cached sums of all runs from their intervals, where they differ."""
    source = open_ledger(ledger, runs_dir)
    for run_id in source.run_ids():
        difference = source.rebuild_sums(run_id)
        if difference:
            click.echo(f"{run_id}: recomputed: {difference}")
    click.echo("The sums of all runs match their intervals.")


def create(location: str) -> None:
    """Create an empty ledger."""
    Ledger.open(location).close()
    engine = engine_of(location, create=False, fill=migrate.create)
    click.echo(
        f"created ledger {without_password(location)} (schema {migrate.version_of(engine)})."
    )
    engine.dispose()
