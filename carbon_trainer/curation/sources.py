"""Where text comes from: each source with its name, licence and origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from carbon_trainer.curation.config import PrepareConfig, SourceSettings
from carbon_trainer.curation.licences import checked
from carbon_trainer.data.corpus import Corpus, find_corpus
from carbon_trainer.errors import InputError


@dataclass(frozen=True, slots=True)
class Source:
    """One source.

    Attributes:
        name: unique within the dataset.
        licence: of its documents that state none themselves; None if it is not stated.
        origin: where it is from, for people.
        corpus: its files.
    """

    name: str
    licence: str | None
    origin: str
    corpus: Corpus


def check_sources(config: PrepareConfig) -> list[SourceSettings]:
    """Return what the sources are, each with a name of its own; nothing is read yet.

    Raises:
        InputError: if one is not there, two have one name, a licence is not known, or the dataset
            would be written into one.
    """
    named = [*config.sources, *(SourceSettings(path=path) for path in config.data)]
    if not named:
        raise InputError("name the text to prepare: files or folders, or `sources` in a file.")
    checked_sources: dict[str, SourceSettings] = {}
    for one in named:
        name = one.name or one.path.resolve().name
        if name in checked_sources:
            raise InputError(
                f"two sources are called {name!r}: give them names, under `sources` in a file."
            )
        if not one.path.exists():
            raise InputError(f"there is no file or folder {one.path} to prepare.")
        if config.to is not None and config.to.resolve().is_relative_to(one.path.resolve()):
            raise InputError(
                f"--to {config.to} lies in the source {one.path}: choose a folder outside of it."
            )
        licence = one.licence or config.data_licence
        if licence is not None:
            (licence,) = checked([licence], f"the licence of source {name!r}")
        checked_sources[name] = one.model_copy(update={"name": name, "licence": licence})
    return list(checked_sources.values())


def find_sources(
    settings: list[SourceSettings],
    text_field: str,
    say: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
) -> list[Source]:
    """Find and hash all sources, in the order in which they were named.

    Args:
        settings: from ``check_sources``.
        text_field: field or column with the text, in JSONL and Parquet.
        say: is told how much there is.
        check: is called for every megabyte that is read.

    Raises:
        InputError: if one cannot be read.
    """
    return [
        Source(
            one.name, one.licence, one.origin,
            find_corpus([one.path], text_field=text_field, progress=say, check=check),
        )
        for one in settings
    ]  # fmt: skip
