"""``carbon-train data``: prepare text, and find what was trained with text to be forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import Verbs, ledger_options, preparation_options


@click.group("data", cls=Verbs)
def command() -> None:
    """Prepare text to train on, and find what was trained with text to be forgotten."""


@command.command("prepare")
@click.argument("source", nargs=-1, type=click.Path(path_type=Path))
@click.option("--print-config", is_flag=True, help="Print the settings that would hold, and stop.")
@preparation_options
def prepare(**flags: Any) -> None:
    """Make a dataset of SOURCE..., with a datasheet, metered and under a budget.

    A SOURCE is a text file, a folder, JSONL (also .gz) or Parquet; one that ends in .yaml has
    settings by the names below, and sources with their licences. Only the steps that are asked
    for are done; of equal texts only the first is kept in any case. Killed or stopped, the same
    command goes on.
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
    """Tell which datasets hold what a removal list names, and which runs were trained with it.

    All datasets that the ledger knows are looked into, and each DATASET folder; name those that
    were moved.
    """
    from carbon_trainer.cli.actions import affected as action

    action.affected(**flags)
