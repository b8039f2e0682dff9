"""``carbon-train grid``: who tells carbon intensity, and what they tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete


@click.group("grid")
def command() -> None:
    """Carbon intensity: list who tells it, show a zone, fetch it as CSV.

    The network is used only where --provider names one.
    """


@command.command("list")
def list_providers() -> None:
    """List providers, and what each needs."""
    from carbon_trainer.cli.actions import grid

    grid.list_providers()


@command.command("show")
@click.argument("zone", shell_complete=complete.zones)
@click.option(
    "--provider",
    "name",
    shell_complete=complete.providers,
    help="Ask this provider; offline climatology by default.",
)
@click.option("--trace", type=click.Path(path_type=Path), help="Show a CSV file instead.")
@click.option("--start", metavar="TIME", help="From when on; now by default.")
@click.option("--hours", type=click.IntRange(1, 24 * 366), default=48, show_default=True)
def show(**flags: Any) -> None:
    """Draw what ZONE's intensity is expected to be, in the terminal."""
    from carbon_trainer.cli.actions import grid

    grid.show(**flags)


@command.command("fetch")
@click.argument("zone", shell_complete=complete.zones)
@click.option(
    "--provider", "name", shell_complete=complete.providers, required=True, help="Who is asked."
)
@click.option("--start", metavar="TIME", help="History from then on; a forecast by default.")
@click.option("--end", metavar="TIME", help="Until then; now by default.")
@click.option("--last", metavar="DURATION", help="History of the last 7d, 24h, …")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="CSV to write.")
def fetch(**flags: Any) -> None:
    """Write what a provider tells of ZONE into a CSV that plan and simulate read."""
    from carbon_trainer.cli.actions import grid

    grid.fetch(**flags)
