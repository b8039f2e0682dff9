"""``carbon-train check``: can published figures of a training be right?"""

from __future__ import annotations

from pathlib import Path

import click


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Check the figures in FILE (YAML or JSON) against one another and against physics.

    FILE has one list of figures, or a list of such lists: name, energy_kwh, facility_kwh, pue,
    intensity_gco2e_per_kwh, emissions_kgco2e, device_hours, tdp_w, flops, peak_tflops,
    accelerator; any of them may be left out. Exit status 1 if something cannot be right.
    """
    from carbon_trainer.cli.actions.check import check

    check(file)
