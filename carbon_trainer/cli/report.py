"""``carbon-train report``: a run's report, again."""

from __future__ import annotations

from pathlib import Path

import click

from carbon_trainer.cli.options import ledger_options, open_ledger
from carbon_trainer.config import RunConfig


@click.command("report")
@click.argument("run")
@click.option(
    "--format",
    "formats",
    default="html,md,json",
    show_default=True,
    metavar="LIST",
    help="Formats to write, with commas between.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to; the run's own by default.",
)
@ledger_options
def command(
    run: str, formats: str, out: Path | None, ledger: str | None, runs_dir: str | None
) -> None:
    """Write the report of RUN (an id, the beginning of one, or `last`) from the ledger.

    The same ledger gives the same bytes.
    """
    from carbon_trainer.reports.build import write_run_report

    source = open_ledger(ledger, runs_dir)
    run_id = source.resolve(run)
    folder = out or Path(runs_dir or RunConfig.model_fields["runs_dir"].default) / run_id
    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    for path in write_run_report(source, run_id, folder, wanted).values():
        click.echo(str(path))
