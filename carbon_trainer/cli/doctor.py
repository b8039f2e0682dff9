"""``carbon-train doctor``: what can be measured here, what is estimated, and what to fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import ledger_options


@click.command("doctor")
@ledger_options
@click.option(
    "--restore",
    is_flag=True,
    help="Restore power limits and clocks left behind by dead runs, and exit.",
)
@click.option(
    "--acceptance",
    is_flag=True,
    help="Run the acceptance check on the first GPU, under load, for up to eight minutes.",
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    help="With --acceptance: run only this part (board, loads, waves, marks, limits, levels, "
    "idle, training, memory, overhead or front_doors); repeatable.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --acceptance: output folder.  [default: carbon_acceptance]",
)
def command(acceptance: bool, parts: tuple[str, ...], folder: Path | None, **flags: Any) -> None:
    """Inspect this machine's devices, permissions and ledger, without changing anything.

    Each device is metered for about a second to find its refresh interval and read latency. Exit
    status 1 if something must be fixed before a run can be metered or recorded.

    With --acceptance the GPU is loaded, throttled, metered and trained on; acceptance.html lists
    which guarantees hold, and power limits are restored. Exit status 1 if one does not hold.
    """
    if acceptance:
        from carbon_trainer.cli.actions.acceptance import accept

        accept(parts, folder)
        return
    if parts or folder:
        raise click.UsageError("--part and --to need --acceptance.")
    from carbon_trainer.cli.actions.doctor import examine

    examine(**flags)
