"""``carbon-train data``: prepare text, and find what was trained with text to be forgotten."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from carbon_trainer.cli.options import (
    Verbs,
    given,
    ledger_options,
    open_ledger,
    setting_options,
)
from carbon_trainer.config import COMMAND_LINE, read_yaml
from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from carbon_trainer.curation.affected import Finding
    from carbon_trainer.curation.job import Prepared

YAML = (".yaml", ".yml")

FLAGS = {
    name: field
    for name, field in PrepareConfig.settings().items()
    if name not in ("sources", "datasheet")
}


@click.group("data", cls=Verbs)
def command() -> None:
    """Prepare text to train on, and find what was trained with text to be forgotten."""


@command.command("prepare")
@click.argument("source", nargs=-1, type=click.Path(path_type=Path))
@click.option("--print-config", is_flag=True, help="Print the settings that would hold, and stop.")
@setting_options(FLAGS)
def prepare(source: tuple[Path, ...], print_config: bool, **flags: Any) -> None:
    """Make a dataset of SOURCE..., with a datasheet, metered and under a budget.

    A SOURCE is a text file, a folder, JSONL (also .gz) or Parquet; one that ends in .yaml has
    settings by the names below, and sources with their licences. Only the steps that are asked
    for are done; of equal texts only the first is kept in any case. Killed or stopped, the same
    command goes on.
    """
    files = [path for path in source if path.suffix in YAML]
    known = PrepareConfig.settings()
    places = [(str(path), read_yaml(path, known)) for path in files]
    texts = [path for path in source if path.suffix not in YAML]
    config = PrepareConfig.from_sources(*places, (COMMAND_LINE, {**given(flags), "data": texts}))
    if print_config:
        click.echo(config.to_yaml(), nl=False)
        return
    sys.exit(_prepare(config))


def _prepare(config: PrepareConfig) -> int:
    from carbon_trainer.curation.job import prepare_data
    from carbon_trainer.curation.progress import shown
    from carbon_trainer.emissions import ZoneFactors
    from carbon_trainer.interrupts import Interrupted, Interrupts, exit_status_of, signal_name

    ZoneFactors().intensity(config.zone)
    console = Console(highlight=False)
    try:
        with Interrupts() as interrupts, shown(console, config.progress) as show:
            done = prepare_data(
                config,
                say=lambda text: console.print(escape(text), soft_wrap=True),
                show=show,
                interrupts=interrupts,
            )
    except Interrupted as signal:
        # Within the run it is an outcome; here nothing had been begun.
        console.print(f"interrupted: {signal_name(signal.signal_number)} before the run was opened")
        return exit_status_of(signal.signal_number)
    for line in _closing(config, done):
        console.print(escape(line), soft_wrap=True)
    return done.outcome.exit_status


def _closing(config: PrepareConfig, done: Prepared) -> list[str]:
    """Return what is said at the end, and write the run's report."""
    from carbon_trainer.curation.prepare import reasons_text
    from carbon_trainer.data.prepared import removed
    from carbon_trainer.reports.build import write_run_report
    from carbon_trainer.reports.figures import run_figures
    from carbon_trainer.reports.text import figure_text

    lines = [f"{done.outcome.status}: {done.outcome.reason.rstrip('.')}."]
    if done.sheet is not None:
        data, made = done.sheet["data"], done.sheet["preparation"]
        read = sum(source["documents_read"] for source in done.sheet["sources"])
        out = reasons_text(removed(done.sheet)) or "none"
        lines.append(
            f"{data['documents']:,} of {read:,} documents kept in {config.to}; left out: {out}."
        )
        lines.append(f"datasheet: {Path(config.to or '') / 'datasheet.md'}, run {made['run_id']}")
    elif done.outcome.status in ("budget", "interrupted"):
        more = " with a larger budget" if done.outcome.status == "budget" else ""
        lines.append(f"go on{more}: give the same command again")
    if done.session is not None:
        figures = run_figures(done.session.ledger, done.session.run_id)
        lines += [
            f"{one.label}: {figure_text(one)} ({one.method})"
            for one in (figures.energy, figures.emissions)
        ]
        try:
            paths = write_run_report(done.session.ledger, done.session.run_id, done.session.run_dir)
            lines.append(f"report: {paths['html']}")
        except InputError as error:
            lines.append(f"no report could be written: {error}")
    if done.sheet is not None:
        lines.append(f"train on it: carbon-train fit --data {config.to}")
    return lines


@command.command("affected")
@click.argument("dataset", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--remove", type=click.Path(path_type=Path), required=True,
    help="Removal list, CSV or JSONL with kind (id, sha256, text, email, regex) and value.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@ledger_options
def affected(
    dataset: tuple[Path, ...], remove: Path, as_json: bool, ledger: str | None, runs_dir: str | None
) -> None:
    """Tell which datasets hold what a removal list names, and which runs were trained with it.

    All datasets that the ledger knows are looked into, and each DATASET folder; name those that
    were moved.
    """
    from carbon_trainer.curation.affected import affected as look
    from carbon_trainer.curation.removal import read_removal_list

    removal = read_removal_list(remove)
    known = open_ledger(ledger, runs_dir)
    try:
        findings = look(removal, known, dataset)
    finally:
        known.close()
    if as_json:
        told = [_as_json(one) for one in findings]
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    for line in _affected_lines(findings):
        click.echo(line)


def _as_json(one: Finding) -> dict[str, Any]:
    return {
        "name": one.name,
        "folder": str(one.folder),
        "data_sha256": one.data_sha256,
        "documents": one.documents,
        "problem": one.problem or None,
        "runs": list(one.runs),
    }


def _affected_lines(findings: list[Finding]) -> list[str]:
    lines = []
    for one in findings:
        if one.documents:
            counts = "; ".join(f"{count:,} by {how}" for how, count in one.documents.items())
            lines.append(f"{one.name} in {one.folder} holds documents of the list: {counts}.")
        elif one.problem:
            lines.append(f"{one.name} in {one.folder} may: it was not looked into ({one.problem}).")
        else:
            continue
        runs = ", ".join(one.runs) or "none that this ledger knows"
        lines.append(f"  prepare it again with --remove; trained with it: {runs}")
    touched = sum(one.is_affected for one in findings)
    lines.append(f"{touched} of {len(findings)} datasets hold something of the list, or may.")
    return lines
