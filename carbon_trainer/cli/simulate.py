"""``carbon-train simulate``: policies over a year of starts on a real trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.problem import job_options


@click.command("simulate")
@click.option("--trace", type=click.Path(path_type=Path), required=True, help="CSV of a year.")
@click.option("--forecasts", type=click.Path(path_type=Path), help="CSV: issued_utc,h00,h01,…")
@click.option("--policy", "names", multiple=True, help="Policies; all by default.")
@click.option("--slack", type=float, help="Window as a multiple of the work.")
@click.option("--deadline", metavar="DURATION", help="Window, such as 48h.")
@job_options
@click.option("--work-error", type=float, default=0.0, help="True work over estimate, less one.")
@click.option("--every", default="24h", show_default=True, help="Time between two starts.")
@click.option("--jobs", type=int, help="Processes; as many as cores by default.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write every start here.")
def command(**flags: Any) -> None:
    """Tell what policies would have saved on a trace, from many starts."""
    from carbon_trainer.cli.actions.simulate import compare_policies

    compare_policies(**flags)
