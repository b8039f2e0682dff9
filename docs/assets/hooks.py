"""What is written into pages when the site is built: tables of what the code has."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, get_args

from carbon_trainer.config import RunConfig, RunSettings
from carbon_trainer.grid.providers import infos


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put each table in the place of its mark, such as ``<!-- settings -->``."""
    for table in (settings, callback_settings, providers):
        mark = f"<!-- {table.__name__} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, table())
    return markdown


def settings() -> str:
    """Return a table for each section of settings."""
    return _tables(RunConfig.model_fields, "##")


def callback_settings() -> str:
    """Return the tables of the settings that callbacks and recorders take."""
    names = RunSettings.__annotations__
    return _tables([name for name in RunConfig.model_fields if name in names], "###")


def providers() -> str:
    """Return a table of the providers of carbon intensity."""
    rows = [
        f"| `{info.name}` | {info.zones} | {info.accounting} | {info.step_minutes} min | "
        f"{info.forecast_hours or 'none'}{' h' if info.forecast_hours else ''} | "
        f"{', '.join(f'`{key}`' for key in info.keys) or 'none'} | {info.licence} |"
        for info in infos()
    ]
    head = ["provider", "zones", "accounting", "step", "forecast", "credentials", "licence"]
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *rows])


def _tables(names: Iterable[str], heading: str) -> str:
    lines: list[str] = []
    for title, group in groupby(names, _section):
        lines += ["", f"{heading} {title}", "", "| setting | default | what |", "|---|---|---|"]
        lines += map(_row, group)
    return "\n".join(lines)


def _section(name: str) -> str:
    """Return the title of the section that a setting is in."""
    titled = [base for base in RunConfig.__bases__ if "title" in vars(base)]
    return next(section.title for section in titled if name in section.model_fields)


def _row(name: str) -> str:
    field = RunConfig.model_fields[name]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    unit = f" {extra['unit']}" if "unit" in extra else ""
    default = "" if field.default in (None, "", []) else f"`{_yaml(field.default)}`{unit}"
    what = str(field.description).replace("|", "\\|")
    choices = [f"`{choice}`" for choice in _choices(field.annotation)]
    if choices:
        what += f" One of {', '.join(choices)}."
    if unit and not default:
        what += f" In{unit}."
    also = f", `{extra['also']}`" if "also" in extra else ""
    return f"| `{name}`{also} | {default} | {what} |"


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(annotation: Any) -> list[str]:
    """Return the words that a setting may be; none where it is no choice."""
    words = [arg for part in (annotation, *get_args(annotation)) for arg in get_args(part)]
    return [word for word in dict.fromkeys(words) if isinstance(word, str)]
