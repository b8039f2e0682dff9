"""Writes a run's report into a folder, whole files or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures import RunFigures, run_figures
from carbon_trainer.reports.run_html import run_html
from carbon_trainer.reports.run_json import run_json
from carbon_trainer.reports.run_markdown import run_markdown

FORMATS: dict[str, Callable[[RunFigures], str]] = {
    "html": run_html,
    "md": run_markdown,
    "json": run_json,
}
"""The forms of a run's report by their file's suffix."""


def render_run(ledger: Ledger, run_id: str, format: str) -> str:  # noqa: A002 - the flag's name
    """Return a run's report as text.

    Args:
        ledger: where the run is.
        run_id: its full id.
        format: ``html``, ``md`` or ``json``.

    Raises:
        InputError: if the format or the run is not known.
        LedgerError: if the ledger cannot be read.
    """
    check_formats([format])
    return FORMATS[format](run_figures(ledger, run_id))


def write_run_report(
    ledger: Ledger, run_id: str, directory: Path, formats: Sequence[str] = ("html", "md", "json")
) -> dict[str, Path]:
    """Write a run's report as ``report.html``, ``report.md`` and ``report.json``.

    Args:
        ledger: where the run is.
        run_id: its full id.
        directory: the folder to write into; made if it is not there.
        formats: which forms.

    Returns:
        The file of each format.

    Raises:
        InputError: if a format or the run is not known, or the folder cannot be written.
        LedgerError: if the ledger cannot be read.
    """
    check_formats(formats)
    figures = run_figures(ledger, run_id)
    texts = {name: FORMATS[name](figures) for name in formats}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return {name: _replace(directory / f"report.{name}", text) for name, text in texts.items()}
    except OSError as error:
        raise InputError(
            f"cannot write the report into {directory}: {error.strerror or error}. Give another "
            "folder."
        ) from error


def check_formats(formats: Sequence[str]) -> None:
    """Check the names of formats.

    Raises:
        InputError: naming the first that is not known, and the nearest ones.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(
                f"there is no report format {name!r}.{did_you_mean(name, FORMATS)} The formats "
                f"are {', '.join(FORMATS)}."
            )


def _replace(path: Path, text: str) -> Path:
    """Write a file at once: a reader sees the old one or the new one, never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return path
