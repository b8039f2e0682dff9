"""``carbon-train check``: a sanity check of published energy and emission figures."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Check the figures in FILE (YAML or JSON) against each other and against physical limits.

    FILE has a mapping, or a list of mappings, with any of these keys: name, energy_kwh,
    facility_kwh, pue, intensity_gco2e_per_kwh, emissions_kgco2e, device_hours, tdp_w, flops,
    peak_tflops, accelerator. Exit status 1 if an inconsistency is found.
    """
    from carbon_trainer.cli.actions.check import check

    check(file)
