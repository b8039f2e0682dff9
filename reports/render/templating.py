"""Jinja environments in which untrusted text cannot turn into markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&!^$])")
_LINK = re.compile(r"(?i):(?=//)|(?<=\bwww)\.|@")


def html_environment(*folders: Path) -> Environment:
    """Return an environment that escapes every value for HTML.

    Args:
        folders: where templates are that use the reports' parts, looked in first.
    """
    return Environment(
        loader=FileSystemLoader([*folders, _TEMPLATES]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def markdown_environment() -> Environment:
    """Return an environment that escapes every value for Markdown."""
    # HTML's escapes would show as they are in Markdown; ``finalize`` escapes for it instead.
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=False, finalize=markdown_text,  # noqa: S701
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def markdown_text(value: Any) -> Any:
    """Escape text for a line or a table cell of Markdown: no markup, no links, no new lines."""
    if not isinstance(value, str):
        return value
    text = _MARKUP.sub(r"\\\1", " ".join(value.split()))
    text = _LINK.sub(r"\\\g<0>", text)
    text = re.sub(r"^(\d+)(?=[.)](\s|$))", r"\1\\", text)
    return re.sub(r"^(?=[-+=])", r"\\", text)
