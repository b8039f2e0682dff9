"""Writes a run's report into a folder, whole files or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.files import write_atomic
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.reports.checks import problems_of_run
from carbon_trainer.reports.figures import RunFigures, run_figures
from carbon_trainer.reports.formats import FORMATS

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
    made = FORMATS[format].render(ledger, run_figures(ledger, run_id))
    return made if isinstance(made, str) else made.decode()


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
    made = {name: FORMATS[name].render(ledger, figures) for name in formats}
    return write_files(directory, {name: (FORMATS[name].file, made[name]) for name in formats})


def check_exportable(ledger: Ledger, figures: RunFigures) -> None:
    """Refuse to give others figures of a broken record, or that cannot be right.

    Raises:
        InputError: naming what is wrong.
    """
    chain = verify(ledger, figures.run_id)
    if chain.problem:
        raise InputError(
            f"nothing is exported, as the record of run {figures.run_id} is broken: {chain.problem}"
        )
    refuse(problems_of_run(figures))


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


def write_files(directory: Path, made: Mapping[str, tuple[str, str | bytes]]) -> dict[str, Path]:
    """Write files by name and content into a folder.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in made.values():
            write_atomic(directory / name, content)
    except OSError as error:
        raise InputError(
            f"cannot write the report into {directory}: {error.strerror or error}. Give another "
            "folder."
        ) from error
    return {key: directory / name for key, (name, _) in made.items()}


def refuse(problems: Sequence[str]) -> None:
    """Refuse to export figures that cannot be right.

    Raises:
        InputError: naming what is wrong.
    """
    if problems:
        raise InputError(
            f"nothing is exported, as figures cannot be right: {'; '.join(problems)}. Correct the "
            "record with `carbon-train runs correct`."
        )


def check_formats(formats: Sequence[str], known: Iterable[str]) -> None:
    """Check the names of formats.

    Raises:
        InputError: naming the first that is not known, and the nearest ones.
    """
    names = list(known)
    for name in formats:
        if name not in names:
            raise InputError(
                f"there is no report format {name!r}.{did_you_mean(name, names)} The formats "
                f"are {', '.join(names)}."
            )
