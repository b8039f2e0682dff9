"""From sources to shards, document by document: resumable, in little memory, reproducible."""

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
from carbon_trainer.data.readers import Document, documents_in
from carbon_trainer.errors import InputError
from carbon_trainer.files import sha256_of

FORMAT = 1
"""Changed whenever the same sources and settings would give different data than before."""

COMMIT_DOCUMENTS = 256
"""Documents between two commits, which a kill loses."""

LIBRARIES = (
    "badwords-py", "datasketch", "lingua-language-detector", "phonenumbers", "presidio-analyzer",
    "pyarrow", "spacy", "tldextract",
)  # fmt: skip
"""Libraries whose version may change what is kept."""


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide what is kept."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def made_from(config: PrepareConfig, sources: list[Source]) -> str:
    """Return a hash of all that decides the data: sources, settings, lists, libraries."""
    inputs = {
        "format": FORMAT,
        "sources": [(s.name, s.licence, s.origin, s.corpus.sha256) for s in sources],
        "settings": config.choices(),
        "lists": [_list_sha256(path) for path in (config.remove, config.blocklist)],
        "libraries": library_versions(),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


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
    """Process every document that is not processed yet, and write the data's files.

    Args:
        config: the settings.
        sources: in order.
        cleaner: decides for each document.
        state: the database of the work so far.
        position: the progress so far.
        check: called between documents; an exception from it ends the work there.

    Raises:
        InputError: if a source cannot be read or a file not written.
    """
    if position.is_done:
        return
    folder = _target_folder(config)
    remove_unfinished_files(folder)
    for source, file, name, document in _remaining(sources, position):
        check()
        position.source, position.file, position.row = source, file, document.row
        doc_id = document.id or _fallback_id(name, document)
        cleaner.process(sources[source], doc_id, document)
        if position.pending_bytes >= config.shard_mb * 1_000_000:
            _write_shard(folder, state, position)
        elif position.read % COMMIT_DOCUMENTS == 0:
            state.commit(position)
    if position.pending_bytes:
        _write_shard(folder, state, position)
    if not position.documents:
        state.commit(position)
        raise InputError(
            f"none of {position.read:,} documents is kept: "
            f"{reasons_text(position.all_removed()) or 'there are none'}. Give more text, or "
            "different settings and another --to."
        )
    write_text(_path_in(folder, MANIFEST), manifest(sources))
    write_index(_path_in(folder, INDEX), state.index())
    position.is_done = True
    state.commit(position)


def manifest(sources: list[Source]) -> str:
    """Return each source's name, and below it ``sha256  bytes  name`` of each file."""
    return "".join(f"# {source.name}\n{source.corpus.manifest}" for source in sources)


def reasons_text(counts: dict[str, int]) -> str:
    """Format counts by reason for people: ``3 exact duplicate, 1 personal data``."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _remaining(
    sources: list[Source], position: Position
) -> Iterator[tuple[int, int, str, Document]]:
    """Yield source, file, file name and document for every document that is not processed yet.

    The position is advanced by the caller while this runs, so its start is copied.
    """
    start = position.source, position.file, position.row
    for source_index, source in enumerate(sources):
        for file_index, file in enumerate(source.corpus.files):
            if (source_index, file_index) < start[:2]:
                continue
            for document in documents_in(file.path, source.corpus.text_field):
                if (source_index, file_index, document.row) > start:
                    yield source_index, file_index, file.name, document


def _fallback_id(name: str, document: Document) -> str:
    """Return the id of a document that states none: its file and row."""
    # File names may hold bytes that are not UTF-8, which Parquet's strings cannot.
    clean = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return f"{clean}#{document.row}"


def _write_shard(folder: Path, state: State, position: Position) -> None:
    """Write the pending documents. If killed before the commit, the same file is written again."""
    path = _path_in(folder, f"part-{len(position.shards):05d}.parquet")
    position.shards.append(write_shard(path, iter(state.pending())))
    state.clear_pending()
    position.pending_bytes = 0
    state.commit(position)


def _target_folder(config: PrepareConfig) -> Path:
    if config.to is None:
        raise InputError("say where the dataset is to be written, with --to FOLDER.")
    return config.to


def _path_in(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror or error}.") from error
    return path


def data_sha256(shards: list[dict[str, Any]]) -> str:
    """Return a dataset's hash: of the sorted lines ``sha256  bytes  name`` of its shards."""
    lines = sorted(f"{shard['sha256']}  {shard['bytes']}  {shard['file']}\n" for shard in shards)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
