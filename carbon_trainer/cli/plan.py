"""``carbon-train plan``: when to run and at which power, without running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.cli.problem import job_options


@click.command("plan")
@click.argument("run_file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--trace", type=click.Path(path_type=Path), help="CSV: time_utc,gco2e_per_kwh.")
@click.option(
    "--zone",
    shell_complete=complete.zones,
    help="Grid, where no trace is given: its usual course, offline.",
)
@click.option(
    "--provider",
    shell_complete=complete.providers,
    help="Ask this provider for the zone's forecast: see grid list.",
)
@click.option("--start", metavar="TIME", help="Now; the trace's start by default.")
@click.option("--deadline", metavar="TIME", required=True, help="48h, 3d, or an instant.")
@job_options
@click.option("--price-per-kwh", type=float, help="Price of electricity, every hour alike.")
@click.option("--price-trace", type=click.Path(path_type=Path), help="CSV: time_utc,price_per_kwh.")
@click.option(
    "--objective",
    type=click.Choice(["carbon", "cost", "blend"]),
    default="carbon",
    show_default=True,
    help="What is to be least; blend: cost with a price on carbon.",
)
@click.option("--carbon-price", type=float, metavar="PER_TONNE", help="Money per tCO2e, for blend.")
@click.option("--budget-kwh", type=float, help="Most energy.")
@click.option("--budget-kgco2e", type=float, help="Most emissions.")
@click.option("--budget-cost", type=float, help="Most money.")
@click.option("--not-before", metavar="TIME", help="Earliest start.")
@click.option("--blackout", "blackouts", multiple=True, metavar="FROM/TO", help="Do not run then.")
@click.option("--cap", "caps", multiple=True, metavar="FROM/TO=W", help="Most power then.")
@click.option("--policy", "name", default="optimal", show_default=True, help="Who decides.")
@click.option("--compare", is_flag=True, help="Show every policy.")
@click.option("--html", type=click.Path(path_type=Path), help="Draw the plan into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(**flags: Any) -> None:
    """Find the schedule of least carbon (or cost) that keeps the deadline and the budget.

    RUN_FILE may give zone, price and budgets, as it does for fit.
    """
    from carbon_trainer.cli.actions.plan import show_plan

    show_plan(**flags)
