"""Flags that describe a job to be planned, without a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def job_options(command: Command) -> Command:
    """Give a command the flags of a job: work, power levels, idling."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--work-hours", type=float, metavar="HOURS", help="Work: hours at full speed."
    ),
    click.option(
        "--levels", default="700:1.0", show_default=True, metavar="W:SPEED,…",
        help="Power levels: watts, and speed relative to full speed.",
    ),
    click.option(
        "--pause-w", type=float, metavar="W", help="Power while paused in the process (W)."
    ),
    click.option(
        "--restart-s", type=float, default=0.0, metavar="S", help="Time per resume (s)."
    ),
    click.option(
        "--restart-kwh", type=float, default=0.0, metavar="KWH", help="Energy per resume (kWh)."
    ),
    click.option(
        "--release-w", type=float, metavar="W",
        help="Power while released (checkpoint, exit, restart) (W); only 0 W, without --pause-w.",
    ),
    click.option(
        "--release-restart-s", type=float, metavar="S",
        help="Time to restart after a release (s).",
    ),
    click.option(
        "--release-restart-kwh", type=float, metavar="KWH",
        help="Energy to restart after a release (kWh).",
    ),
    click.option(
        "--queue-w", type=float, default=0.0, metavar="W", help="Power before the start (W)."
    ),
)  # fmt: skip
