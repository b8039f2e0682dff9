"""``carbon-train ledger``: merge and migrate ledgers."""

from __future__ import annotations

from typing import Any

import click

from carbon_trainer.cli.options import Verbs, ledger_options


@click.group("ledger", cls=Verbs)
def command() -> None:
    """Merge or migrate ledgers."""


@command.command("merge")
@click.argument("sources", nargs=-1, required=True)
@click.option("--into", required=True, metavar="LEDGER", help="Target ledger: file or URL.")
def merge_ledgers(**flags: Any) -> None:
    """Merge the runs of several ledgers into one.

    SOURCES are files or database URLs. Records keep their hashes, and merging twice changes
    nothing. A run with a broken hash chain, or with conflicting records, is skipped and reported:
    exit status 1.
    """
    from carbon_trainer.cli.actions import ledger

    ledger.merge_ledgers(**flags)


@command.command("upgrade")
@ledger_options
def upgrade(**flags: Any) -> None:
    """Migrate a database to this version's schema.

    SQLite files are migrated automatically when they are opened.
    """
    from carbon_trainer.cli.actions import ledger

    ledger.upgrade(**flags)


@command.command("rebuild-sums")
@ledger_options
def rebuild_sums(**flags: Any) -> None:
    """Recompute the cached sums that reports read.

    They differ from the intervals if an earlier version has written to the same ledger, or if
    they were tampered with; `runs verify` reports it.
    """
    from carbon_trainer.cli.actions import ledger

    ledger.rebuild_sums(**flags)


@command.command("create")
@click.argument("location", metavar="LEDGER")
def create(location: str) -> None:
    """Create an empty LEDGER, a file or a database URL.

    In a database this needs the right to create tables.
    """
    from carbon_trainer.cli.actions import ledger

    ledger.create(location)
