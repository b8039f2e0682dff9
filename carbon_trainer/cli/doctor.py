"""``carbon-train doctor``: what can be measured here, what is estimated, what to do about it."""

from __future__ import annotations

from typing import Any

import click

from carbon_trainer.cli.options import ledger_options


@click.command("doctor")
@ledger_options
@click.option(
    "--restore",
    is_flag=True,
    help="Put back the power limits and clocks that runs have left which are gone; nothing else.",
)
def command(**flags: Any) -> None:
    """Look at this machine's devices, permissions and ledger; nothing is changed.

    Each device is metered for about a second, to tell how often its figure changes and what
    reading it costs. Exit status 1 if something must be mended before a run can be metered or
    recorded.
    """
    from carbon_trainer.cli.actions.doctor import examine

    examine(**flags)
