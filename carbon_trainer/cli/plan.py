"""``carbon-train plan``: when to run and at which power, without running anything."""

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
    help="Grid zone, if there is no --trace: its typical daily profile, offline.",
)
@click.option(
    "--provider",
    shell_complete=complete.providers,
    help="Provider to query for the zone's forecast; see `grid list`.",
)
@click.option(
    "--start", metavar="TIME",
    help="Planning start.  [default: first time in the trace, else the current hour]",
)  # fmt: skip
@click.option("--deadline", metavar="TIME", required=True, help="48h, 3d, or 2026-11-24T12:00Z.")
@job_options
@click.option("--price-per-kwh", type=float, help="Electricity price, constant.")
@click.option("--price-trace", type=click.Path(path_type=Path), help="CSV: time_utc,price_per_kwh.")
@click.option(
    "--objective",
    type=click.Choice(["carbon", "cost", "blend"]),
    default="carbon",
    show_default=True,
    help="What the schedule minimizes; blend: cost including a carbon price.",
)
@click.option("--carbon-price", type=float, metavar="PER_TONNE", help="Price per tCO2e, for blend.")
@click.option("--budget-kwh", type=float, help="Energy limit.")
@click.option("--budget-kgco2e", type=float, help="Emissions limit.")
@click.option("--budget-cost", type=float, help="Cost limit.")
@click.option("--not-before", metavar="TIME", help="Earliest start.")
@click.option("--blackout", "blackouts", multiple=True, metavar="FROM/TO",
              help="Blackout window; repeatable.")  # fmt: skip
@click.option("--cap", "caps", multiple=True, metavar="FROM/TO=W",
              help="Power cap in a window; repeatable.")  # fmt: skip
@click.option("--policy", "name", default="optimal", show_default=True, help="Scheduling policy.")
@click.option("--compare", is_flag=True, help="Compare all policies.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the plan as an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(**flags: Any) -> None:
    """Find the schedule with the least carbon (or cost) within deadline and budget.

    RUN_FILE may set zone, price and budgets, as for fit.
    """
    from carbon_trainer.cli.actions.plan import show_plan

    show_plan(**flags)
