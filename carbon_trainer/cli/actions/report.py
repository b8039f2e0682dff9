"""What ``carbon-train report`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.actions.location import open_ledger, runs_folder
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.build import check_formats, write_card, write_figures, write_files
from carbon_trainer.reports.figures import run_figures
from carbon_trainer.reports.formats import FORMATS
from carbon_trainer.reports.portfolio.build import write_portfolio
from carbon_trainer.reports.portfolio.selection import selection_of
from carbon_trainer.reports.signature import FILE, signed

_SELECTIONS = ("project", "user", "purpose", "status", "zone", "year", "first", "last")


def report(
    run: str | None, many: bool, formats: str, out: Path | None, card: Path | None,
    key: Path | None, ledger: str | None, runs_dir: str | None, **chosen: Any,
) -> None:  # fmt: skip
    """Write the report of a run, or of many."""
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
    for path in write_portfolio(source, selection_of(**given), folder, wanted).values():
        click.echo(str(path))


def _report_run(
    source: Ledger, run_id: str, folder: Path, wanted: list[str], card: Path | None,
    key: Path | None,
) -> None:  # fmt: skip
    check_formats(wanted, FORMATS)
    figures = run_figures(source, run_id)
    paths = write_figures(source, figures, folder, wanted)
    if card is not None:
        paths["card"] = write_card(source, figures, card)
    if key is not None:
        files = {name: path for name, path in paths.items() if name != "card"}
        text = signed(run_id, figures.head, files, key)
        paths["signature"] = write_files(folder, {"signature": (FILE, text)})["signature"]
    for path in paths.values():
        click.echo(str(path))
