"""``carbon-train profile``: what each power setting costs in speed, on this model and machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from carbon_trainer.cli.fit import check_quickly
from carbon_trainer.cli.options import config_options, given
from carbon_trainer.config import COMMAND_LINE, RunConfig, read_yaml
from carbon_trainer.ledger.facts import LevelsMeasured

ENDLESS = 10**9


@click.command("profile")
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@config_options
def command(run_file: Path | None, **flags: Any) -> None:
    """Measure power and speed of each power setting; RUN_FILE and settings are those of fit.

    It trains for about a minute, in a run of its own whose energy is recorded, and keeps what it
    finds for later runs of the same model, batch and devices. The weights are thrown away.
    """
    from carbon_trainer import job
    from carbon_trainer.interrupts import Interrupts

    sources = [(COMMAND_LINE, given(flags))]
    if run_file is not None:
        sources.insert(0, (str(run_file), read_yaml(run_file)))
    config = job.resolved(RunConfig.from_sources(*sources))
    config = config.model_copy(
        update={
            "deadline": "365d",
            "max_wait": "1s",
            "max_steps": ENDLESS,
            "validate_every": ENDLESS,
            "checkpoint_every": ENDLESS,
            "name": config.name or "profile",
            "progress": "off",
        }
    )
    check_quickly(config)
    console = Console(highlight=False)
    with Interrupts() as interrupts:
        result = job.fit(config, console=console, interrupts=interrupts, profiling=True)
    shutil.rmtree(result.run_dir / "checkpoints", ignore_errors=True)
    measured = result.session.ledger.facts(result.run_id, LevelsMeasured)
    if not measured:
        console.print(f"{result.outcome.status}: {result.outcome.reason}", soft_wrap=True)
        sys.exit(result.outcome.exit_status or 1)
    console.print(table_of(measured[-1].body))


def table_of(body: dict[str, Any]) -> Table:
    """Lay out what was measured."""
    full = body["levels"][0]
    title = f"{body['means']}; {body['idle_w']:,.0f} W while training waits"
    table = Table(title=title, title_justify="left")
    for heading in ("setting", "power", "steps/s", "speed", "energy a step"):
        table.add_column(heading, justify="right")
    for one in body["levels"]:
        table.add_row(
            f"{one['share']:.0%}",
            f"{one['power_w']:,.0f} W",
            f"{one['steps_per_s']:.4g}",
            f"{one['steps_per_s'] / full['steps_per_s']:.3f}",
            f"{one['power_w'] / one['steps_per_s']:,.4g} J",
        )
    return table
