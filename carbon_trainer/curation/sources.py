"""The sources of a dataset's text, each with its name, licence and origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from carbon_trainer.curation.config import PrepareConfig, SourceSettings
from carbon_trainer.curation.licences import check_licences
from carbon_trainer.data.corpus import Corpus, find_corpus
from carbon_trainer.errors import InputError


@dataclass(frozen=True, slots=True)
class Source:
    """One source.

    Attributes:
        name: unique within the dataset.
        licence: that of its documents that state none themselves; None if unknown.
        origin: where it was obtained, for people.
        corpus: its files.
    """

    name: str
    licence: str | None
    origin: str
    corpus: Corpus


def check_sources(config: PrepareConfig) -> list[SourceSettings]:
    """Return the sources' settings, each with a unique name; nothing is read yet.

    Raises:
        InputError: if one does not exist, two have the same name, a licence is unknown, or the
            dataset would be written into one.
    """
    sources = [*config.sources, *(SourceSettings(path=path) for path in config.data)]
    if not sources:
        raise InputError("no text to prepare: give files or folders, or `sources` in a file.")
    unique: dict[str, SourceSettings] = {}
    for source in sources:
        name = source.name or source.path.resolve().name
        if name in unique:
            raise InputError(
                f"two sources have the name {name!r}: name them under `sources` in a file."
            )
        if not source.path.exists():
            raise InputError(f"there is no file or folder {source.path} to prepare.")
        if config.to is not None and config.to.resolve().is_relative_to(source.path.resolve()):
            raise InputError(
                f"--to {config.to} is inside the source {source.path}: choose a folder outside it."
            )
        licence = source.licence or config.data_licence
        if licence is not None:
            (licence,) = check_licences([licence], f"the licence of source {name!r}")
        unique[name] = source.model_copy(update={"name": name, "licence": licence})
    return list(unique.values())


def find_sources(
    settings: list[SourceSettings],
    text_field: str,
    progress: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
) -> list[Source]:
    """Find and hash all sources, in the order in which they were given.

    Args:
        settings: from ``check_sources``.
        text_field: field or column with the text, in JSONL and Parquet.
        progress: called with each source's size, as a line for people.
        check: called for every megabyte that is read.

    Raises:
        InputError: if one cannot be read.
    """
    return [
        Source(
            source.name, source.licence, source.origin,
            find_corpus([source.path], text_field=text_field, progress=progress, check=check),
        )
        for source in settings
    ]  # fmt: skip
