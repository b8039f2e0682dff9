"""What is written into the pages when the site is built: the settings of a run, from RunConfig."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

from carbon_trainer.config import RunConfig

MARK = "<!-- settings -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables of settings in the place of their mark."""
    return markdown.replace(MARK, settings()) if MARK in markdown else markdown


def settings() -> str:
    """Return a table for each group of settings, under the comment that heads it in the class."""
    lines: list[str] = []
    for name in RunConfig.model_fields:
        heading = _headings().get(name)
        if heading:
            lines += ["", f"## {heading}", "", "| setting | default | what |", "|---|---|---|"]
        lines.append(_row(name))
    return "\n".join(lines)


def _headings() -> dict[str, str]:
    """Return the comment above the first setting of each group, by that setting's name."""
    pairs = re.findall(r"^    # (.+)\n    (\w+):", inspect.getsource(RunConfig), re.MULTILINE)
    return {name: comment for comment, name in pairs}


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
    found = [arg for part in (annotation, *get_args(annotation)) for arg in get_args(part)]
    return [arg for arg in dict.fromkeys(found) if isinstance(arg, str)]
