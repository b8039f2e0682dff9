"""What ``carbon-train report`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.actions.location import open_ledger, runs_folder
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.build import write_card, write_figures
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.formats import FORMATS, check_formats
from carbon_trainer.reports.portfolio.build import write_portfolio
from carbon_trainer.reports.portfolio.selection import selection_of
from carbon_trainer.reports.render.files import write_files
from carbon_trainer.reports.signature import FILE, signed

_FILTERS = ("project", "user", "purpose", "status", "zone", "year", "first", "last")


def report(
    run: str | None, many: bool, formats: str, out: Path | None, card: Path | None,
    key: Path | None, ledger: str | None, runs_dir: str | None, **filters: Any,
) -> None:  # fmt: skip
    """Write the report of one run, or of many."""
    names = [name.strip() for name in formats.split(",") if name.strip()]
    filters = {name: filters[name] for name in _FILTERS if filters[name] is not None}
    _check(run, many, filters, card, key)
    source = open_ledger(ledger, runs_dir)
    folder = runs_folder(runs_dir)
    if many:
        _report_many(source, filters, out or folder, names)
        return
    run_id = source.resolve(str(run))
    _report_run(source, run_id, out or folder / run_id, names, card, key)


def _check(
    run: str | None, many: bool, filters: dict[str, Any], card: Path | None, key: Path | None
) -> None:
    if many == (run is not None):
        raise InputError("give either a RUN, such as `carbon-train report last`, or --all.")
    if filters and not many:
        flags = {"first": "--from", "last": "--to"}
        flag = flags.get(next(iter(filters)), f"--{next(iter(filters))}")
        raise InputError(f"{flag} needs --all.")
    if many and (card or key):
        raise InputError(f"{'--card' if card else '--sign'} needs a RUN, not --all.")


def _report_many(source: Ledger, filters: dict[str, Any], folder: Path, names: list[str]) -> None:
    for path in write_portfolio(source, selection_of(**filters), folder, names).values():
        click.echo(str(path))


def _report_run(
    source: Ledger, run_id: str, folder: Path, names: list[str], card: Path | None,
    key: Path | None,
) -> None:  # fmt: skip
    check_formats(names, FORMATS)
    figures = run_figures(source, run_id)
    paths = write_figures(source, figures, folder, names)
    if card is not None:
        paths["card"] = write_card(source, figures, card)
    if key is not None:
        files = {name: path for name, path in paths.items() if name != "card"}
        text = signed(run_id, figures.head, files, key)
        paths["signature"] = write_files(folder, {"signature": (FILE, text)})["signature"]
    for path in paths.values():
        click.echo(str(path))
