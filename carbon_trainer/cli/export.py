"""``carbon-train export``: a trained model for transformers, with emissions in its card."""

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
    help="Output folder.  [default: model/ in RUN's folder; adapter/ with --adapter]",
)
@click.option(
    "--adapter",
    is_flag=True,
    help="Export only the LoRA adapter, for peft; by default it is merged into the weights.",
)
@ledger_options
def command(**flags: Any) -> None:
    """Export the model of RUN (an id, an id's prefix, or `last`) for transformers.

    Weights are taken from the latest valid checkpoint. The run's energy and emissions are written
    into README.md; the rest of that file is left unchanged.
    """
    from carbon_trainer.cli.actions.export import export

    export(**flags)
