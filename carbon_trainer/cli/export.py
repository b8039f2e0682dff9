"""``carbon-train export``: a trained model for transformers, with its emissions in its card."""

from __future__ import annotations

from pathlib import Path

import click

from carbon_trainer.checkpoints import newest_whole
from carbon_trainer.cli import complete
from carbon_trainer.cli.options import ledger_options, open_ledger, runs_folder
from carbon_trainer.errors import InputError


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
def command(
    run: str, folder: Path | None, adapter: bool, ledger: str | None, runs_dir: str | None
) -> None:
    """Write the model of RUN (an id, the beginning of one, or `last`) for transformers to load.

    Its weights are those of the newest checkpoint that is whole; a LoRA adapter is merged into them
    unless --adapter asks for it alone. README.md gets the run's energy
    and emissions, and keeps all else that is in it.
    """
    from carbon_trainer.models.build import quieten_transformers
    from carbon_trainer.models.export import FOLDER, export_model
    from carbon_trainer.models.lora import FOLDER as ADAPTER_FOLDER

    quieten_transformers()
    source = open_ledger(ledger, runs_dir)
    run_id = source.resolve(run)
    place = runs_folder(runs_dir) / run_id
    checkpoint = newest_whole(place / "checkpoints")
    if checkpoint is None:
        raise InputError(f"{place / 'checkpoints'} has no checkpoint that is whole.")
    target = folder or place / (ADAPTER_FOLDER if adapter else FOLDER)
    parameters = export_model(place / FOLDER, checkpoint, target, adapter=adapter)
    click.echo(f"{target}: {parameters:,} parameters of {checkpoint.name}")
    from carbon_trainer.reports.build import write_card
    from carbon_trainer.reports.figures import run_figures

    click.echo(str(write_card(source, run_figures(source, run_id), target / "README.md")))
