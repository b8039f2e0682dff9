"""Writes a run's report into a folder, whole files or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.exports.checks import check_exportable
from carbon_trainer.reports.figures.run_figures import RunFigures, run_figures
from carbon_trainer.reports.formats import FORMATS, check_formats
from carbon_trainer.reports.render.files import write_files
from carbon_trainer.reports.renderers import RENDERERS

DEFAULT_FORMATS = ("html", "md", "json")


def render_run(ledger: Ledger, run_id: str, format: str) -> str:  # noqa: A002 - the flag's name
    """Return a run's report as text.

    Args:
        ledger: where the run is.
        run_id: its full id.
        format: a name of ``FORMATS`` whose form is text: ``html``, ``md``, ``json`` …

    Raises:
        InputError: if the format or the run is not known.
        LedgerError: if the ledger cannot be read.
    """
    check_formats([format], FORMATS)
    content = RENDERERS[format](ledger, run_figures(ledger, run_id))
    return content if isinstance(content, str) else content.decode()


def write_run_report(
    ledger: Ledger, run_id: str, directory: Path, formats: Sequence[str] = DEFAULT_FORMATS
) -> dict[str, Path]:
    """Write a run's report, a file for each format.

    Args:
        ledger: where the run is.
        run_id: its full id.
        directory: the folder to write into; made if it is not there.
        formats: names of ``FORMATS``.

    Returns:
        The file of each format.

    Raises:
        InputError: if a format or the run is not known, the figures fail a check that exports
            need, or the folder cannot be written.
        LedgerError: if the ledger cannot be read.
    """
    check_formats(formats, FORMATS)
    return write_figures(ledger, run_figures(ledger, run_id), directory, formats)


def write_figures(
    ledger: Ledger, figures: RunFigures, directory: Path, formats: Sequence[str]
) -> dict[str, Path]:
    """Write the report of a run that is counted up; as ``write_run_report``."""
    if any(FORMATS[name].is_export for name in formats):
        check_exportable(ledger, figures)
    contents = {name: RENDERERS[name](ledger, figures) for name in formats}
    return write_files(directory, {name: (FORMATS[name].file, contents[name]) for name in formats})


def write_card(ledger: Ledger, figures: RunFigures, card: Path) -> Path:
    """Write a run's emissions into a model card, and leave all else in it as it is.

    Raises:
        InputError: if the card cannot be read or written, or the figures may not be given away.
    """
    from carbon_trainer.reports.exports.model_card import model_card

    check_exportable(ledger, figures)
    text = model_card(figures, _existing(card))
    return write_files(card.parent, {"card": (card.name, text)})["card"]


def _existing(card: Path) -> str:
    try:
        return card.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the model card {card}: {error}.") from error
