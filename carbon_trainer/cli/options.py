"""Flags made from settings, as ``flags.json`` has them: settings are declared once, in ``config``.

``python -m carbon_trainer.cli.flags`` writes the file. Nothing heavy is imported here, so that
``--help`` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import click

from carbon_trainer.cli import complete
from carbon_trainer.errors import did_you_mean

Command = Callable[..., Any]

FLAGS_FILE = Path(__file__).with_name("flags.json")


class Flag(TypedDict):
    """What click needs to know of a setting's flag."""

    name: str
    flags: list[str]
    help: str
    switch: bool
    choices: list[str]
    multiple: bool
    metavar: str | None


def config_options(command: Command) -> Command:
    """Give a command one flag for each setting of RunConfig; it gets those that were given."""
    return _with_flags(command, _declared()["run"])


def preparation_options(command: Command) -> Command:
    """Give a command one flag for each setting of PrepareConfig that can be one."""
    return _with_flags(command, _declared()["preparation"])


def ledger_options(command: Command) -> Command:
    """Give a command the flags that say where the ledger is."""
    by_name = {flag["name"]: flag for flag in _declared()["run"]}
    return _with_flags(command, [by_name["runs_dir"], by_name["ledger"]])


def explicit_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the settings among ``flags`` that were given."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in flags.items()
        if value is not None and value != ()
    }


@cache
def _declared() -> dict[str, list[Flag]]:
    declared: dict[str, list[Flag]] = json.loads(FLAGS_FILE.read_text(encoding="utf-8"))
    return declared


def _with_flags(command: Command, flags: list[Flag]) -> Command:
    for flag in reversed(flags):
        command = _option(flag)(command)
    return command


def _option(flag: Flag) -> Callable[[Command], Command]:
    names = (*flag["flags"], flag["name"])
    if flag["switch"]:
        return click.option(*names, default=None, help=flag["help"])
    if flag["choices"]:
        return click.option(*names, type=click.Choice(flag["choices"]), help=flag["help"])
    return click.option(
        *names,
        type=str,
        multiple=flag["multiple"],
        metavar=flag["metavar"],
        shell_complete=complete.SETTINGS.get(flag["name"]),
        help=flag["help"],
    )


class Verbs(click.Group):
    """A group of commands that names the nearest one to a mistyped name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was called."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            hint = did_you_mean(args[0], self.commands)
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)
