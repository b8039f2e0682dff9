"""``carbon-train doctor``: what can be measured here, what is estimated, what to do about it."""

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
    help="Put back the power limits and clocks that runs which have ended left behind; no more.",
)
@click.option(
    "--acceptance",
    is_flag=True,
    help="Put load on the first GPU for up to eight minutes, and check what is promised of it.",
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    help="With --acceptance: this part alone (board, loads, waves, marks, limits, levels, idle, "
    "training, memory, overhead or front_doors); may be given several times.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --acceptance: folder of its page, JSON and logs.  [default: carbon_acceptance]",
)
def command(acceptance: bool, parts: tuple[str, ...], folder: Path | None, **flags: Any) -> None:
    """Look at this machine's devices, permissions and ledger; nothing is changed.

    Each device is metered for about a second, to tell how often its figure changes and what
    reading it costs. Exit status 1 if something must be mended before a run can be metered or
    recorded.

    With --acceptance the GPU is loaded, throttled, metered and trained on, and acceptance.html
    says which promises hold on it; power limits are restored. Exit status 1 if one does not hold.
    """
    if acceptance:
        from carbon_trainer.cli.actions.acceptance import accept

        accept(parts, folder)
        return
    if parts or folder:
        raise click.UsageError("--part and --to go with --acceptance.")
    from carbon_trainer.cli.actions.doctor import examine

    examine(**flags)
