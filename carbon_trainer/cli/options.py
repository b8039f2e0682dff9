"""Flags made from RunConfig, so that settings are declared once."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from carbon_trainer.cli import complete
from carbon_trainer.config import RunConfig
from carbon_trainer.errors import did_you_mean
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger

Command = Callable[..., Any]


def config_options(command: Command) -> Command:
    """Give a command one flag for each setting of RunConfig; it gets those that were given."""
    return setting_options(RunConfig.model_fields)(command)


def setting_options(settings: Mapping[str, FieldInfo]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command one flag for each of some settings."""

    def decorate(command: Command) -> Command:
        for name, field in reversed(list(settings.items())):
            command = _option(name, field)(command)
        return command

    return decorate


def ledger_options(command: Command) -> Command:
    """Give a command the flags that say where the ledger is."""
    for name in ("ledger", "runs_dir"):
        command = _option(name, RunConfig.model_fields[name])(command)
    return command


def open_ledger(ledger: str | None, runs_dir: str | None, *, upgrade: bool = False) -> Ledger:
    """Open the ledger that the flags name, for reading.

    Raises:
        LedgerError: if there is none.
    """
    folder = runs_folder(runs_dir)
    return Ledger.open(location_of(ledger, folder), create=False, upgrade=upgrade)


def runs_folder(runs_dir: str | None) -> Path:
    """Return the folder of runs: the flag's, or the one that runs are put in by default."""
    return Path(runs_dir or RunConfig.model_fields["runs_dir"].default)


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the settings among ``flags`` that were given."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in flags.items()
        if value is not None and value != ()
    }


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    flag = f"--{name.replace('_', '-')}"
    extra = field.json_schema_extra
    known = extra if isinstance(extra, dict) else {}
    unit = str(known["unit"]) if "unit" in known else None
    flags = [flag, str(known["also"])] if "also" in known else [flag]
    text = f"{field.description}{_default_text(field.default, unit)}"
    completed = complete.SETTINGS.get(name)
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    choices = _choices(field.annotation)
    if choices:
        return click.option(flag, name, type=click.Choice(choices), help=text)
    many = typing.get_origin(field.annotation) is list
    metavar = unit.upper() if unit and len(unit) < 14 else _metavar(field.annotation)
    return click.option(
        *flags, name, type=str, multiple=many, metavar=metavar, shell_complete=completed, help=text
    )


def _default_text(default: Any, unit: str | None) -> str:
    if default is None or default in ([], {}, ""):
        return f"  [{unit}]" if unit else ""
    shown = "on" if default is True else "off" if default is False else default
    return f"  [default: {shown}{' ' + unit if unit else ''}]"


def _choices(annotation: Any) -> list[str]:
    return [str(v) for v in typing.get_args(annotation)] if _is_literal(annotation) else []


def _is_literal(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Literal


def _metavar(annotation: Any) -> str:
    kinds = typing.get_args(annotation) or (annotation,)
    if Path in kinds:
        return "PATH"
    flat = {k for kind in kinds for k in (typing.get_args(kind) or (kind,))}
    if int in flat or float in flat:
        return "NUMBER"
    return "TEXT" if not isinstance(annotation, types.GenericAlias) else "VALUE"


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
