"""``carbon-train grid``: providers of carbon intensity, and their data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete


@click.group("grid")
def command() -> None:
    """Carbon intensity: list providers, show a zone's forecast, download CSV.

    The network is used only if --provider is given.
    """


@command.command("list")
def list_providers() -> None:
    """List providers and their requirements."""
    from carbon_trainer.cli.actions import grid

    grid.list_providers()


@command.command("show")
@click.argument("zone", shell_complete=complete.zones)
@click.option(
    "--provider",
    "name",
    shell_complete=complete.providers,
    help="Provider to query.  [default: the zone's typical daily profile, offline]",
)
@click.option("--trace", type=click.Path(path_type=Path), help="Show a CSV file instead.")
@click.option("--start", metavar="TIME", help="Start time.  [default: now]")
@click.option("--hours", type=click.IntRange(1, 24 * 366), default=48, show_default=True,
              help="Hours to show.")  # fmt: skip
def show(**flags: Any) -> None:
    """Plot ZONE's forecast carbon intensity in the terminal."""
    from carbon_trainer.cli.actions import grid

    grid.show(**flags)


@command.command("fetch")
@click.argument("zone", shell_complete=complete.zones)
@click.option(
    "--provider", "name", shell_complete=complete.providers, required=True,
    help="Provider to query.",
)  # fmt: skip
@click.option("--start", metavar="TIME", help="Start of the history; without it, a forecast.")
@click.option("--end", metavar="TIME", help="End of the history.  [default: now]")
@click.option("--last", metavar="DURATION", help="History of the last 7d, 24h, …")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Output CSV.")
def fetch(**flags: Any) -> None:
    """Download ZONE's forecast or history as a CSV for plan and simulate."""
    from carbon_trainer.cli.actions import grid

    grid.fetch(**flags)
