"""What ``carbon-train submit`` does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.actions.checks import check_quickly, check_schedule
from carbon_trainer.cli.options import explicit_settings
from carbon_trainer.config import COMMAND_LINE, RunConfig, read_yaml
from carbon_trainer.errors import InputError
from carbon_trainer.launch.slurm import JobOptions, script_of, submit


def submit_run(
    run_file: Path | None, sbatch_options: tuple[str, ...], dry_run: bool, **flags: Any
) -> None:  # fmt: skip
    """Submit a run to Slurm, or print the batch script."""
    sources = [(COMMAND_LINE, explicit_settings(flags))]
    if run_file is not None:
        sources.insert(0, (str(run_file), read_yaml(run_file)))
    config = RunConfig.from_sources(*sources)
    check_quickly(config)
    check_schedule(config)
    for option in sbatch_options:
        if not option.startswith("-"):
            raise InputError(
                f"--sbatch: invalid option {option!r} (expected one with its dashes, such as "
                "--gres=gpu:4)"
            )
    folder = config.runs_dir.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    options = JobOptions(
        name=config.name or "carbon-train",
        ranks_per_node=config.devices,
        nodes=config.nodes,
        folder=folder,
        sbatch_lines=sbatch_options,
    )
    script = script_of(options, fit_args(sys.argv[2:]))
    if dry_run:
        click.echo(script, nl=False)
        return
    job_id = submit(script)
    click.echo(f"submitted job {job_id} as run slurm-{job_id}; output: {folder}/slurm-{job_id}.log")


def fit_args(args: list[str]) -> list[str]:
    """Return the arguments for fit: all of ``submit``'s but --sbatch and --dry-run."""
    remaining: list[str] = []
    is_sbatch_value = False
    for arg in args:
        if is_sbatch_value:
            is_sbatch_value = False
        elif arg == "--sbatch":
            is_sbatch_value = True
        elif arg != "--dry-run" and not arg.startswith("--sbatch="):
            remaining.append(arg)
    return remaining
