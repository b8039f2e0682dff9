"""``carbon-train profile``: what each power setting costs in speed, on this model and machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import config_options


@click.command("profile")
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@config_options
def command(**flags: Any) -> None:
    """Measure power and speed of each power setting; RUN_FILE and settings are those of fit.

    It trains for about a minute, in a run of its own whose energy is recorded, and keeps what it
    finds for later runs of the same model, batch and devices. The weights are thrown away.
    """
    from carbon_trainer.cli.actions.profile import profile

    profile(**flags)
