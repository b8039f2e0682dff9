"""``carbon-train simulate``: back-tests of scheduling policies on a historical trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.problem import job_options


@click.command("simulate")
@click.option("--trace", type=click.Path(path_type=Path), required=True,
              help="CSV: time_utc,gco2e_per_kwh; at best a whole year.")  # fmt: skip
@click.option("--forecasts", type=click.Path(path_type=Path), help="CSV: issued_utc,h00,h01,…")
@click.option("--policy", "names", multiple=True, help="Policy; repeatable.  [default: all]")
@click.option("--slack", type=float, help="Window length over the hours of work, such as 1.5.")
@click.option("--deadline", metavar="DURATION", help="Window length, such as 48h.")
@job_options
@click.option("--work-error", type=float, default=0.0,
              help="Relative error of the estimated work: 0.2 if it takes 20 % more.")  # fmt: skip
@click.option("--every", default="24h", show_default=True, help="Time between job starts.")
@click.option("--jobs", type=int, help="Worker processes.  [default: number of cores]")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write results to CSV.")
def command(**flags: Any) -> None:
    """Back-test scheduling policies on a historical trace, over many job starts."""
    from carbon_trainer.cli.actions.simulate import compare_policies

    compare_policies(**flags)
