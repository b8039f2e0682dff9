"""``carbon-train report``: a run's report again, or one over many runs, in any of their forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.cli.options import ledger_options, open_ledger, runs_folder
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.store import Ledger

DEFAULT = "html,md,json"

_SELECTIONS = ("project", "user", "purpose", "status", "zone", "year", "first", "last")


class _Formats(click.Command):
    """Lists the formats below the options, when ``--help`` is asked for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the formats."""
        from carbon_trainer.reports.formats import FORMATS

        rows = [(name, f"{form.about} ({form.file})") for name, form in FORMATS.items()]
        with formatter.section("Formats of a run"):
            formatter.write_dl(rows)
        with formatter.section("Formats with --all"):
            formatter.write_text("html, md, json, xlsx, pdf, ghg, esrs")


@click.command("report", cls=_Formats)
@click.argument("run", required=False, shell_complete=complete.runs)
@click.option("--all", "many", is_flag=True, help="Report over many runs instead of one.")
@click.option("--project", help="With --all: runs of this project only.")
@click.option("--user", help="With --all: runs of this user only.")
@click.option("--purpose", help="With --all: runs of this purpose only (final, development …).")
@click.option("--status", help="With --all: runs that ended like this only (finished, failed …).")
@click.option("--zone", shell_complete=complete.zones, help="With --all: runs on this grid only.")
@click.option("--year", type=int, help="With --all: energy used in this year (UTC) only.")
@click.option("--from", "first", metavar="DAY", help="With --all: from this day on.")
@click.option("--to", "last", metavar="DAY", help="With --all: up to and with this day.")
@click.option(
    "--format",
    "formats",
    default=DEFAULT,
    show_default=True,
    metavar="LIST",
    shell_complete=complete.formats,
    help="Formats to write, with commas between.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to; the run's own by default, with --all the runs folder.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="README.MD",
    help="Write the emissions into this model card, and leave all else in it as it is.",
)
@click.option(
    "--sign",
    "key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY.PEM",
    help="Sign the files with this Ed25519 key, into signature.json.",
)
@ledger_options
def command(
    run: str | None, many: bool, formats: str, out: Path | None, card: Path | None,
    key: Path | None, ledger: str | None, runs_dir: str | None, **chosen: Any,
) -> None:  # fmt: skip
    """Write the report of RUN (an id, the beginning of one, or `last`), or with --all of many runs.

    The same ledger gives the same bytes. Forms of others are written only if the figures pass the
    checks; a figure that is missing is printed as missing.
    """
    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    given = {name: chosen[name] for name in _SELECTIONS if chosen[name] is not None}
    _check(run, many, given, card, key)
    source = open_ledger(ledger, runs_dir)
    folder = runs_folder(runs_dir)
    if many:
        _report_many(source, given, out or folder, wanted)
        return
    run_id = source.resolve(str(run))
    _report_run(source, run_id, out or folder / run_id, wanted, card, key)


def _check(
    run: str | None, many: bool, given: dict[str, Any], card: Path | None, key: Path | None
) -> None:
    if many == (run is not None):
        raise InputError("name one RUN (`carbon-train report last`), or give --all for many.")
    if given and not many:
        flags = {"first": "--from", "last": "--to"}
        flag = flags.get(next(iter(given)), f"--{next(iter(given))}")
        raise InputError(f"{flag} chooses among many runs: give --all with it.")
    if many and (card or key):
        raise InputError(f"{'--card' if card else '--sign'} is for one run: name it.")


def _report_many(source: Ledger, given: dict[str, Any], folder: Path, wanted: list[str]) -> None:
    from carbon_trainer.reports.portfolio.build import write_portfolio
    from carbon_trainer.reports.portfolio.selection import selection_of

    for path in write_portfolio(source, selection_of(**given), folder, wanted).values():
        click.echo(str(path))


def _report_run(
    source: Ledger, run_id: str, folder: Path, wanted: list[str], card: Path | None,
    key: Path | None,
) -> None:  # fmt: skip
    from carbon_trainer.reports.build import check_formats, write_card, write_figures, write_files
    from carbon_trainer.reports.figures import run_figures
    from carbon_trainer.reports.formats import FORMATS

    check_formats(wanted, FORMATS)
    figures = run_figures(source, run_id)
    paths = write_figures(source, figures, folder, wanted)
    if card is not None:
        paths["card"] = write_card(source, figures, card)
    if key is not None:
        from carbon_trainer.reports.signature import FILE, signed

        files = {name: path for name, path in paths.items() if name != "card"}
        text = signed(run_id, figures.head, files, key)
        paths["signature"] = write_files(folder, {"signature": (FILE, text)})["signature"]
    for path in paths.values():
        click.echo(str(path))
