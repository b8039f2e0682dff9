"""Writes ``flags.json``, the flags that settings make: ``python -m carbon_trainer.cli.flags``.

RunConfig and PrepareConfig declare the settings; they need pydantic, which takes longer to import
than ``--help`` may. The command line therefore reads its flags from the file, and a test compares
the file with the settings.
"""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from carbon_trainer.cli.options import FLAGS_FILE, Flag
from carbon_trainer.config import MeteredConfig, RunConfig
from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.files import write_atomic


def flags_json() -> str:
    """Return what the file has to hold."""
    declared = {"run": flags_of(RunConfig), "preparation": flags_of(PrepareConfig)}
    return json.dumps(declared, indent=1, ensure_ascii=False) + "\n"


def flags_of(config: type[MeteredConfig]) -> list[Flag]:
    """Return the flags that the settings of a config make."""
    settings = config.settings().items()
    return [_flag(name, field) for name, field in settings if name not in config.nested]


def _flag(name: str, field: FieldInfo) -> Flag:
    flag = f"--{name.replace('_', '-')}"
    extra = field.json_schema_extra
    extra = extra if isinstance(extra, dict) else {}
    unit = str(extra["unit"]) if "unit" in extra else None
    is_switch = field.annotation is bool
    names = [f"{flag}/--no-{flag[2:]}" if is_switch else flag]
    choices = _choices(field.annotation)
    return Flag(
        name=name,
        flags=[*names, str(extra["also"])] if "also" in extra else names,
        help=f"{field.description}{_default_text(field.default, unit)}",
        switch=is_switch,
        choices=choices,
        multiple=typing.get_origin(field.annotation) is list,
        metavar=None if is_switch or choices else _metavar(field.annotation, unit),
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


def _metavar(annotation: Any, unit: str | None) -> str:
    if unit and len(unit) < 14:
        return unit.upper()
    kinds = typing.get_args(annotation) or (annotation,)
    if Path in kinds:
        return "PATH"
    flat = {k for kind in kinds for k in (typing.get_args(kind) or (kind,))}
    if int in flat or float in flat:
        return "NUMBER"
    return "TEXT" if not isinstance(annotation, types.GenericAlias) else "VALUE"


if __name__ == "__main__":
    write_atomic(FLAGS_FILE, flags_json())
