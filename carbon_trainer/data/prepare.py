"""Corpus to blocks, once: tokenizer and tokens are cached by what they were made from."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carbon_trainer.data.blocks import PackedBlocks, token_dtype, write_tokens
from carbon_trainer.data.corpus import Corpus, find_corpus
from carbon_trainer.data.tokenizer import (
    FileTokenizer,
    Tokenizer,
    load_pretrained,
    load_trained,
    train_bpe,
)
from carbon_trainer.errors import InputError

Progress = Callable[[str], None]

FORMAT = 1
REPORT_EVERY = 200_000_000
"""Characters between two words on progress."""


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Blocks to train and to validate on, and the record of what they are."""

    train: PackedBlocks
    validation: PackedBlocks
    tokenizer: Tokenizer
    origin: str
    licence: str | None
    files: int
    bytes: int
    sha256: str
    manifest: Path
    train_tokens: int
    validation_tokens: int
    block_size: int


def prepare(
    paths: Sequence[Path],
    *,
    text_field: str = "text",
    licence: str | None = None,
    tokenizer_source: Path | None = None,
    vocab_size: int,
    block_size: int,
    validation_fraction: float = 0.02,
    cache_dir: Path,
    progress: Progress | None = None,
) -> PreparedData:
    """Read, tokenize and pack a corpus, or take it from the cache.

    Args:
        paths: files and folders; none for the standard library's source.
        text_field: field or column with the text, in JSONL and Parquet.
        licence: the data's licence, if told.
        tokenizer_source: folder of a pretrained model whose tokenizer to use; None trains one.
        vocab_size: tokens in the vocabulary that is trained.
        block_size: tokens in a block.
        validation_fraction: share of the blocks held out, at the end.
        cache_dir: where tokenizer and tokens are kept.
        progress: is told how far it is.

    Raises:
        InputError: if the corpus cannot be used, or the cache cannot be written.
    """
    tell = progress or (lambda _: None)
    corpus = find_corpus(paths, text_field=text_field, licence=licence, progress=tell)
    own = load_pretrained(tokenizer_source) if tokenizer_source else None
    key = _key(corpus, own.fingerprint if own else f"bpe-{vocab_size}")
    folder = cache_dir / key
    if not _is_whole(folder):
        _build(folder, corpus, own, vocab_size, tell)
    tokenizer = own or load_trained(folder / "tokenizer.json", vocab_size)
    return _packed(folder, corpus, tokenizer, block_size, validation_fraction)


def _key(corpus: Corpus, tokenizer: str) -> str:
    text = f"{FORMAT}\n{corpus.sha256}\n{corpus.text_field}\n{tokenizer}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_whole(folder: Path) -> bool:
    """Tell whether a cache entry is there and its tokens are those that were written."""
    try:
        index = _index(folder)
        with (folder / "tokens.bin").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == str(index["sha256"])
    except (OSError, ValueError, KeyError):
        return False


def _index(folder: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return index


def _build(
    folder: Path, corpus: Corpus, own: FileTokenizer | None, vocab_size: int, tell: Progress
) -> None:
    """Make a cache entry beside its place and move it there whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as building:
            _write_entry(Path(building), corpus, own, vocab_size, tell)
            _move(Path(building), folder)
    except OSError as error:
        raise InputError(
            f"cannot write prepared data to {folder.parent}: {error.strerror or error}. Free some "
            "space, or choose another folder with --runs-dir."
        ) from error


def _write_entry(
    building: Path, corpus: Corpus, own: FileTokenizer | None, vocab_size: int, tell: Progress
) -> None:
    tokenizer = own
    if tokenizer is None:
        tell(f"training a byte-level BPE tokenizer of {vocab_size:,} tokens")
        tokenizer = train_bpe(_watched(corpus.documents(), "read", tell), vocab_size)
        tokenizer.save(building / "tokenizer.json")
    tell("packing tokens")
    tokens = building / "tokens.bin"
    count = write_tokens(_watched(corpus.documents(), "packed", tell), tokenizer, tokens)
    with tokens.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (building / "manifest.txt").write_text(corpus.manifest, encoding="utf-8")
    (building / "index.json").write_text(
        json.dumps({"tokens": count, "sha256": digest}), encoding="utf-8"
    )


def _move(building: Path, folder: Path) -> None:
    """Put a finished entry in place; a whole one that somebody else put there stays."""
    if folder.exists() and not _is_whole(folder):
        shutil.rmtree(folder)
    try:
        building.rename(folder)
        building.mkdir()
    except OSError:
        if not _is_whole(folder):
            raise


def _watched(documents: Iterable[str], done: str, tell: Progress) -> Iterator[str]:
    seen = told = 0
    for document in documents:
        seen += len(document)
        if seen - told >= REPORT_EVERY:
            told = seen
            tell(f"{done} {seen / 1e6:,.0f} million characters")
        yield document


def _packed(
    folder: Path, corpus: Corpus, tokenizer: Tokenizer, block_size: int, validation_fraction: float
) -> PreparedData:
    count = int(_index(folder)["tokens"])
    blocks = count // block_size
    if blocks < 2:
        raise InputError(
            f"{corpus.origin} has {count} tokens; at least {2 * block_size} are needed, one block "
            f"of {block_size} to train on and one to validate: add text, or lower --block-size."
        )
    held_out = min(blocks - 1, max(1, round(blocks * validation_fraction)))
    dtype = token_dtype(tokenizer.vocab_size)
    path = folder / "tokens.bin"
    return PreparedData(
        train=PackedBlocks(path, dtype, block_size, 0, blocks - held_out),
        validation=PackedBlocks(path, dtype, block_size, blocks - held_out, held_out),
        tokenizer=tokenizer,
        origin=corpus.origin,
        licence=corpus.licence,
        files=len(corpus.files),
        bytes=corpus.bytes,
        sha256=corpus.sha256,
        manifest=folder / "manifest.txt",
        train_tokens=(blocks - held_out) * block_size,
        validation_tokens=held_out * block_size,
        block_size=block_size,
    )
