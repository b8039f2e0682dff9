"""``carbon-train report``: the report of one run or of many, in any format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.cli.options import ledger_options
from carbon_trainer.reports.formats import FORMATS, PORTFOLIO_FILES

DEFAULT = "html,md,json"


class _Formats(click.Command):
    """Lists the formats below the options, when ``--help`` is asked for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the formats."""
        rows = [(name, f"{form.description} ({form.file})") for name, form in FORMATS.items()]
        with formatter.section("Formats of a run"):
            formatter.write_dl(rows)
        with formatter.section("Formats with --all"):
            formatter.write_text(", ".join(PORTFOLIO_FILES))


@click.command("report", cls=_Formats)
@click.argument("run", required=False, shell_complete=complete.runs)
@click.option("--all", "many", is_flag=True, help="Report over many runs instead of one.")
@click.option("--project", help="With --all: runs of this project only.")
@click.option("--user", help="With --all: runs of this user only.")
@click.option("--purpose", help="With --all: runs of this purpose only (final, development …).")
@click.option("--status", help="With --all: runs with this status only (finished, failed …).")
@click.option("--zone", shell_complete=complete.zones, help="With --all: runs in this zone only.")
@click.option("--year", type=int, help="With --all: energy used in this year (UTC) only.")
@click.option("--from", "first", metavar="DAY", help="With --all: first day.")
@click.option("--to", "last", metavar="DAY", help="With --all: last day, inclusive.")
@click.option(
    "--format",
    "formats",
    default=DEFAULT,
    show_default=True,
    metavar="LIST",
    shell_complete=complete.formats,
    help="Formats to write, comma-separated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Output folder.  [default: the run's folder; with --all, the runs folder]",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="README.MD",
    help="Write the emissions into this model card; the rest of it is left unchanged.",
)
@click.option(
    "--sign",
    "key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY.PEM",
    help="Sign the files with this Ed25519 key; writes signature.json.",
)
@ledger_options
def command(**flags: Any) -> None:
    """Write the report of RUN (an id, an id's prefix, or `last`), or of many runs with --all.

    Output is reproducible: the same ledger gives the same bytes. Third-party formats are written
    only if the figures pass the consistency checks; missing figures are reported as missing.
    """
    from carbon_trainer.cli.actions.report import report

    report(**flags)
