"""``carbon-train data``: prepare text, and find datasets and runs that used text to delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import Verbs, ledger_options, preparation_options


@click.group("data", cls=Verbs)
def command() -> None:
    """Prepare text to train on; find datasets and runs that used text you must delete."""


@command.command("prepare")
@click.argument("source", nargs=-1, type=click.Path(path_type=Path))
@click.option("--print-config", is_flag=True, help="Print the resolved settings and exit.")
@preparation_options
def prepare(**flags: Any) -> None:
    """Prepare a dataset with a datasheet, metered and under a budget.

    A SOURCE is a text file, a folder, JSONL (also .gz) or Parquet. One that ends in .yaml holds
    settings, with the names below as keys, and sources with their licences. Exact duplicates are
    always removed; other steps run only if enabled. After an interruption or a crash, the same
    command resumes.
    """
    from carbon_trainer.cli.actions import data as action

    action.prepare(**flags)


@command.command("affected")
@click.argument("dataset", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--remove", type=click.Path(path_type=Path), required=True,
    help="Removal list, CSV or JSONL with kind (id, sha256, text, email, regex) and value.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@ledger_options
def affected(**flags: Any) -> None:
    """Find datasets and runs that used text of a removal list.

    Searches all datasets in the ledger and each DATASET folder; name those that have moved.
    """
    from carbon_trainer.cli.actions import affected as action

    action.affected(**flags)
