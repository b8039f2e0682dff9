"""What ``carbon-train export`` does."""

from __future__ import annotations

from pathlib import Path

import click

from carbon_trainer.cli.actions.location import open_ledger, runs_folder
from carbon_trainer.errors import InputError
from carbon_trainer.models.build import silence_transformers
from carbon_trainer.models.export import FOLDER, export_model
from carbon_trainer.models.lora import FOLDER as ADAPTER_FOLDER
from carbon_trainer.reports.build import write_card
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.runs.checkpoints import latest_valid


def export(
    run: str, folder: Path | None, adapter: bool, ledger: str | None, runs_dir: str | None
) -> None:
    """Write a run's model, and its energy and emissions into the model's card."""
    silence_transformers()
    source = open_ledger(ledger, runs_dir)
    run_id = source.resolve(run)
    run_dir = runs_folder(runs_dir) / run_id
    checkpoint = latest_valid(run_dir / "checkpoints")
    if checkpoint is None:
        raise InputError(f"{run_dir / 'checkpoints'} has no valid checkpoint.")
    target = folder or run_dir / (ADAPTER_FOLDER if adapter else FOLDER)
    parameters = export_model(run_dir / FOLDER, checkpoint, target, adapter=adapter)

    click.echo(f"{target}: {parameters:,} parameters of {checkpoint.name}")
    click.echo(str(write_card(source, run_figures(source, run_id), target / "README.md")))
