"""Sources to shards, document by document: resumable, in little memory, always the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from carbon_trainer.curation.cleaning import Cleaner
from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.curation.files import (
    INDEX,
    MANIFEST,
    remove_unfinished_files,
    write_index,
    write_shard,
    write_text,
)
from carbon_trainer.curation.sources import Source
from carbon_trainer.curation.state import Position, State
from carbon_trainer.data.readers import Document, records_in
from carbon_trainer.errors import InputError
from carbon_trainer.files import sha256_of

FORMAT = 1
"""Changes when the same sources and settings would give other data than before."""

COMMIT_DOCUMENTS = 256
"""Documents between two commits: what a kill loses."""

LIBRARIES = (
    "badwords-py", "datasketch", "lingua-language-detector", "phonenumbers", "presidio-analyzer",
    "pyarrow", "spacy", "tldextract",
)  # fmt: skip
"""Libraries whose version may change what is kept."""


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide what is kept."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def made_from(config: PrepareConfig, sources: list[Source]) -> str:
    """Return a hash of all that decides the data: sources, settings, lists, libraries."""
    told = {
        "format": FORMAT,
        "sources": [(s.name, s.licence, s.origin, s.corpus.sha256) for s in sources],
        "settings": config.choices(),
        "lists": [_list_sha256(path) for path in (config.remove, config.blocklist)],
        "libraries": library_versions(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _list_sha256(path: Path | None) -> str | None:
    return None if path is None else sha256_of(path)


def prepare(
    config: PrepareConfig,
    sources: list[Source],
    cleaner: Cleaner,
    state: State,
    position: Position,
    check: Callable[[], None],
) -> None:
    """Deal with every document that has not been dealt with, and write the data's files.

    Args:
        config: the settings.
        sources: in order.
        cleaner: decides of each document.
        state: what was done before, and is done now.
        position: how far it is.
        check: is called between documents; what it raises ends the work where it is.

    Raises:
        InputError: if a source cannot be read or a file not written.
    """
    if position.is_done:
        return
    to = _folder(config)
    remove_unfinished_files(to)
    for source, file, name, document in _left(sources, position):
        check()
        position.source, position.file, position.row = source, file, document.row
        cleaner.take(sources[source], document.id or _name(name, document), document)
        if position.pending_bytes >= config.shard_mb * 1_000_000:
            _write_shard(to, state, position)
        elif position.read % COMMIT_DOCUMENTS == 0:
            state.commit(position)
    if position.pending_bytes:
        _write_shard(to, state, position)
    if not position.documents:
        state.commit(position)
        raise InputError(
            f"no document is left of {position.read:,}: "
            f"{reasons_text(position.all_removed()) or 'there is none'}. Give more text, or other "
            "settings and another --to."
        )
    write_text(_in(to, MANIFEST), manifest(sources))
    write_index(_in(to, INDEX), state.index())
    position.is_done = True
    state.commit(position)


def manifest(sources: list[Source]) -> str:
    """Return each source's name, and below it ``sha256  bytes  name`` of each file."""
    return "".join(f"# {source.name}\n{source.corpus.manifest}" for source in sources)


def reasons_text(counts: dict[str, int]) -> str:
    """Write counts by reason for people: ``3 exact duplicate, 1 personal data``."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _left(sources: list[Source], position: Position) -> Iterator[tuple[int, int, str, Document]]:
    """Yield every document that has not been dealt with, and where it is."""
    done = position.source, position.file, position.row
    for number, source in enumerate(sources):
        for at, file in enumerate(source.corpus.files):
            if (number, at) < done[:2]:
                continue
            for document in records_in(file.path, source.corpus.text_field):
                if (number, at, document.row) > done:
                    yield number, at, file.name, document


def _name(name: str, document: Document) -> str:
    """Name a document that has no id: its file and row."""
    # Names of files may hold bytes that are no UTF-8, which Parquet's texts cannot.
    clean = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return f"{clean}#{document.row}"


def _write_shard(to: Path, state: State, position: Position) -> None:
    """Write what waits. If killed before the commit, the same is written again."""
    path = _in(to, f"part-{len(position.shards):05d}.parquet")
    position.shards.append(write_shard(path, iter(state.pending())))
    state.written()
    position.pending_bytes = 0
    state.commit(position)


def _folder(config: PrepareConfig) -> Path:
    if config.to is None:
        raise InputError("say where the dataset is to be written, with --to FOLDER.")
    return config.to


def _in(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror or error}.") from error
    return path


def data_sha256(shards: list[dict[str, Any]]) -> str:
    """Return a dataset's hash: of the sorted lines ``sha256  bytes  name`` of its shards."""
    lines = sorted(f"{one['sha256']}  {one['bytes']}  {one['file']}\n" for one in shards)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
