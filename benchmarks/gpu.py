"""What is promised of GPUs, measured on the first one of this machine, in eight minutes at most.

    python -m benchmarks.gpu --to out
    python -m benchmarks.gpu --to out --simulated

The same as ``carbon-train doctor --acceptance``, from a checkout that need not be installed. With
``--simulated`` the GPU is a program's (tests/simulation) and trainings run on the processor, so
that the check itself can be checked anywhere.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from carbon_trainer.acceptance.check import Plan
from carbon_trainer.acceptance.parts import PARTS
from carbon_trainer.cli.actions.acceptance import accept, results_folder, run_and_write
from carbon_trainer.errors import InputError
from tests.simulation.accelerator import NAME

ROOT = Path(__file__).parents[1]


def simulated_environment(folder: Path) -> dict[str, str]:
    """Return the environment of processes that share one simulated GPU, as on a Hopper board."""
    gpu = {
        "shared_power": str(folder / "power"),
        "settings_file": str(folder / "settings.json"),
        "origin_ns": time.time_ns(),
        "refresh_s": 0.1,
        "read_s": 0.001,
        "power_window_s": 1.0,
        "has_instant": True,
    }
    paths = [str(ROOT / "tests" / "simulation" / "site"), str(ROOT)]
    if "PYTHONPATH" in os.environ:
        paths.append(os.environ["PYTHONPATH"])
    return {
        **os.environ,
        "SIMULATED_NVML": json.dumps([gpu]),
        "SIMULATED_NVML_ROOT": str(ROOT),
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_STATE_HOME": str(folder / "state"),
        "OMP_NUM_THREADS": "1",
    }


def simulated_plan(folder: Path, power: Path, *, scale: str, parts: tuple[str, ...]) -> Plan:
    """Return the check of a simulated GPU.

    Args:
        folder: where the results go.
        power: where the simulation keeps what processes do.
        scale: how long to measure.
        parts: which parts.
    """
    # Trainings take minutes on two CPU cores, where a GPU takes seconds.
    return Plan(
        folder=folder, accelerator=NAME, scale=scale, parts=parts, max_s=3600, time_factor=8,
        environ=simulated_environment(power),
    )  # fmt: skip


@click.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), default=Path("carbon_acceptance"))
@click.option("--simulated", is_flag=True, help="On a simulated GPU.")
@click.option("--part", "parts", multiple=True, help="This part alone; may be given several times.")
def main(folder: Path, simulated: bool, parts: tuple[str, ...]) -> None:
    """Run the check; exit status 1 if a promise does not hold."""
    try:
        if not simulated:
            accept(parts, folder)
            return
        with tempfile.TemporaryDirectory() as power:
            every = tuple(part.name for part in PARTS)
            plan = simulated_plan(
                results_folder(folder), Path(power), scale="simulated", parts=parts or every
            )
            holds = run_and_write(plan, Console(highlight=False))
    except InputError as error:
        failed = click.ClickException(str(error))
        failed.exit_code = error.exit_status
        raise failed from error
    if not holds:
        sys.exit(1)


if __name__ == "__main__":
    main()
