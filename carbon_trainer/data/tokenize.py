"""From a corpus to blocks of tokens; tokenizer and tokens are cached by their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.data.blocks import PackedBlocks, token_dtype, write_tokens
from carbon_trainer.data.cache import CacheEntry
from carbon_trainer.data.corpus import Corpus, find_corpus
from carbon_trainer.data.curated import CuratedDataset
from carbon_trainer.data.tokenizer import (
    FileTokenizer,
    Tokenizer,
    load_pretrained,
    load_trained,
    train_bpe,
)
from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from carbon_trainer.data.pairs import TokenPairs

Progress = Callable[[str], None]

FORMAT = 2
"""Changed whenever the same corpus and settings would give different tokens than before."""

PROGRESS_CHARACTERS = 200_000_000
"""Characters between two lines of progress."""

TOKENIZER, TOKENS, MANIFEST = "tokenizer.json", "tokens.bin", "manifest.txt"


@dataclass(frozen=True, slots=True)
class PairDetails:
    """Further properties of data that is pairs of a source and a target.

    Attributes:
        rows: number of pairs, each from a row.
        cut_rows: number of those whose source or target was longer than a block.
        angles: the angles that are used.
        source_share: share of the sources in the tokens that are trained on.
        collate: makes a batch of pairs.
    """

    rows: int
    cut_rows: int
    angles: str
    source_share: float
    collate: Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TokenizedData:
    """Blocks or pairs to train and to validate on, and their provenance.

    Attributes:
        train: blocks to train on.
        validation: blocks held out, the last of the corpus.
        tokenizer: the tokenizer that made the tokens.
        origin: where the text came from, for people.
        licence: the text's, as given, or from datasheets.
        files: number of files of text.
        bytes: size of those files.
        sha256: hash of the manifest.
        manifest: file with a line ``sha256  bytes  name`` for each of those files.
        train_tokens: tokens in ``train``.
        validation_tokens: tokens in ``validation``.
        block_size: tokens in a block; the most in a source, and in a target.
        datasets: those among the data that ``carbon-train data prepare`` made.
        pairs: further properties of pairs; None for blocks.
    """

    train: PackedBlocks | TokenPairs
    validation: PackedBlocks | TokenPairs
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
    datasets: tuple[CuratedDataset, ...] = ()
    pairs: PairDetails | None = None

    @property
    def tokens_per_item(self) -> float:
        """Tokens in a block, or on average in a pair."""
        return self.train_tokens / len(self.train)


def tokenize(
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
) -> TokenizedData:
    """Read, tokenize and pack a corpus, or load it from the cache.

    The cache stores the stream of tokens, from which blocks of any size are cut.

    Args:
        paths: files and folders; none for the standard library's source.
        text_field: field or column with the text, in JSONL and Parquet.
        licence: the data's licence, if given.
        tokenizer_source: folder of a pretrained model whose tokenizer to use; None trains one.
        vocab_size: tokens in the vocabulary that is trained.
        block_size: tokens in a block.
        validation_fraction: share of the blocks held out, at the end.
        cache_dir: folder of the cache.
        progress: called with lines on the progress, for people.

    Raises:
        InputError: if the corpus cannot be used, or the cache cannot be written.
    """
    report = progress or (lambda _: None)
    corpus = find_corpus(paths, text_field=text_field, licence=licence, progress=report)
    own = load_pretrained(tokenizer_source) if tokenizer_source else None
    key = own.fingerprint if own else f"bpe-{vocab_size}"
    entry = CacheEntry(cache_dir, f"{FORMAT}\n{corpus.sha256}\n{corpus.text_field}\n{key}")
    if not entry.is_valid():
        entry.build(lambda folder: _write(folder, corpus, own, vocab_size, report))
    tokenizer = own or load_trained(entry.folder / TOKENIZER, vocab_size)
    return _packed(entry, corpus, tokenizer, block_size, validation_fraction)


def _write(
    folder: Path, corpus: Corpus, own: FileTokenizer | None, vocab_size: int, report: Progress
) -> dict[str, Any]:
    texts = _with_progress(corpus.documents(), "read", report)
    tokenizer = save_tokenizer(folder, own, texts, vocab_size, report)
    report("packing tokens")
    documents = _with_progress(corpus.documents(), "packed", report)
    count = write_tokens(documents, tokenizer, folder / TOKENS)
    save_manifest(folder, corpus)
    return {"tokens": count}


def save_tokenizer(
    folder: Path, own: FileTokenizer | None, texts: Iterable[str], vocab_size: int,
    report: Progress, *, pairs: bool = False,
) -> FileTokenizer:  # fmt: skip
    """Write the model's own tokenizer into a folder of the cache, or train one on the texts."""
    tokenizer = own
    if tokenizer is None:
        report(f"training a byte-level BPE tokenizer of {vocab_size:,} tokens")
        tokenizer = train_bpe(texts, vocab_size, pairs=pairs)
    tokenizer.save(folder / TOKENIZER)
    return tokenizer


def save_manifest(folder: Path, corpus: Corpus) -> None:
    """Write a corpus's list of files, with their hashes, into a folder of the cache."""
    (folder / MANIFEST).write_text(corpus.manifest, encoding="utf-8", errors="surrogateescape")


def validation_count(count: int, fraction: float) -> int:
    """Return the number of blocks or rows to validate on: at least one, and not all."""
    return min(count - 1, max(1, round(count * fraction)))


def corpus_fields(corpus: Corpus, entry: CacheEntry) -> dict[str, Any]:
    """Return the fields of ``TokenizedData`` that describe the corpus itself."""
    return {
        "origin": corpus.origin,
        "licence": corpus.licence,
        "files": len(corpus.files),
        "bytes": corpus.bytes,
        "sha256": corpus.sha256,
        "manifest": entry.folder / MANIFEST,
        "datasets": corpus.datasets,
    }


def _with_progress(documents: Iterable[str], verb: str, report: Progress) -> Iterator[str]:
    characters = reported = 0
    for document in documents:
        characters += len(document)
        if characters - reported >= PROGRESS_CHARACTERS:
            reported = characters
            report(f"{verb} {characters / 1e6:,.0f} million characters")
        yield document


def _packed(
    entry: CacheEntry,
    corpus: Corpus,
    tokenizer: Tokenizer,
    block_size: int,
    validation_fraction: float,
) -> TokenizedData:
    count = int(entry.facts()["tokens"])
    blocks = count // block_size
    if blocks < 2:
        raise InputError(
            f"{corpus.origin} has {count} tokens; at least {2 * block_size} are needed, one block "
            f"of {block_size} to train on and one to validate: add text, or lower --block-size."
        )
    # The end of the stream is held out: the tokens after the last whole block are in neither part.
    held_out = validation_count(blocks, validation_fraction)
    trained = blocks - held_out
    path, dtype = entry.folder / TOKENS, token_dtype(tokenizer.vocab_size)
    return TokenizedData(
        train=PackedBlocks(path, dtype, block_size=block_size, first=0, count=trained),
        validation=PackedBlocks(path, dtype, block_size=block_size, first=trained, count=held_out),
        tokenizer=tokenizer,
        **corpus_fields(corpus, entry),
        train_tokens=trained * block_size,
        validation_tokens=held_out * block_size,
        block_size=block_size,
    )
