"""What ``carbon-train profile`` does."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from carbon_trainer.cli.actions.checks import check_quickly
from carbon_trainer.cli.options import explicit_settings
from carbon_trainer.config import COMMAND_LINE, RunConfig, read_yaml
from carbon_trainer.ledger.facts import LevelsMeasured
from carbon_trainer.runs.signals import Interrupts
from carbon_trainer.training.fit import fit
from carbon_trainer.training.setup import with_defaults

ENDLESS = 10**9


def profile(run_file: Path | None, **flags: Any) -> None:
    """Train for about a minute, and print speed and power at each power setting."""
    sources = [(COMMAND_LINE, explicit_settings(flags))]
    if run_file is not None:
        sources.insert(0, (str(run_file), read_yaml(run_file)))
    config = with_defaults(RunConfig.from_sources(*sources))
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
        result = fit(config, console=console, interrupts=interrupts, remeasure=True)
    shutil.rmtree(result.run_dir / "checkpoints", ignore_errors=True)
    profiles = result.session.ledger.facts(result.run_id, LevelsMeasured)
    if not profiles:
        console.print(f"{result.outcome.status}: {result.outcome.reason}", soft_wrap=True)
        sys.exit(result.outcome.exit_status or 1)
    console.print(table_of(profiles[-1].body))


def table_of(profile: dict[str, Any]) -> Table:
    """Return a recorded profile as a table."""
    full_power = profile["levels"][0]
    title = f"{profile['means']}; {profile['idle_w']:,.0f} W while paused"
    table = Table(title=title, title_justify="left")
    for heading in ("setting", "power", "steps/s", "speed", "energy per step"):
        table.add_column(heading, justify="right")
    for setting in profile["levels"]:
        table.add_row(
            f"{setting['share']:.0%}",
            f"{setting['power_w']:,.0f} W",
            f"{setting['steps_per_s']:.4g}",
            f"{setting['steps_per_s'] / full_power['steps_per_s']:.3f}",
            f"{setting['power_w'] / setting['steps_per_s']:,.4g} J",
        )
    return table
