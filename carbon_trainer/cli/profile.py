"""``carbon-train profile``: speed and power at each power setting, of this model and machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import config_options


@click.command("profile")
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@config_options
def command(**flags: Any) -> None:
    """Measure speed and power at each power setting; RUN_FILE and settings are those of fit.

    It trains for about a minute, as a run whose energy is recorded, and caches the result for
    later runs with the same model, batch and devices. The weights are discarded.
    """
    from carbon_trainer.cli.actions.profile import profile

    profile(**flags)
