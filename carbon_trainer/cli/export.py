"""``carbon-train export``: a trained model for transformers, with its emissions in its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli import complete
from carbon_trainer.cli.options import ledger_options


@click.command("export")
@click.argument("run", shell_complete=complete.runs)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write it.  [default: RUN's folder, model/; with --adapter, adapter/]",
)
@click.option(
    "--adapter",
    is_flag=True,
    help="Write what LoRA has trained alone, for peft. By default it is added to the weights.",
)
@ledger_options
def command(**flags: Any) -> None:
    """Write the model of RUN (an id, the beginning of one, or `last`) for transformers to load.

    Its weights are those of the newest checkpoint that is whole; a LoRA adapter is merged into them
    unless --adapter asks for it alone. README.md gets the run's energy
    and emissions, and keeps all else that is in it.
    """
    from carbon_trainer.cli.actions.export import export

    export(**flags)
