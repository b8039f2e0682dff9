"""Rows with slots to pairs of tokens, once: cached by what they were made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carbon_trainer.data.blocks import token_dtype
from carbon_trainer.data.cache import CacheEntry
from carbon_trainer.data.corpus import Corpus, find_corpus
from carbon_trainer.data.pairs import Pair, TokenPairs, padded, write_pairs
from carbon_trainer.data.readers import ROWS, TABLES
from carbon_trainer.data.rows import rows_in
from carbon_trainer.data.slots import (
    NO_DATA,
    SLOTS,
    Angle,
    default_angles,
    draw,
    fields_of_slots,
    parse_angles,
)
from carbon_trainer.data.tokenize import (
    TOKENIZER,
    PairFacts,
    Progress,
    TokenizedData,
    facts_of,
    held_out_of,
    keep_manifest,
    keep_tokenizer,
)
from carbon_trainer.data.tokenizer import (
    FileTokenizer,
    load_pretrained,
    load_trained,
)
from carbon_trainer.errors import InputError

FORMAT = 1
"""Changes when the same rows and settings would give other tokens than before."""


@dataclass(slots=True)
class _Views:
    """A corpus's rows, each from the angle drawn for it; can be gone through several times."""

    corpus: Corpus
    fields: Mapping[str, str]
    angles: tuple[Angle, ...]
    seed: int
    rows: int = 0
    slots: set[str] = field(default_factory=set)

    def pairs(self) -> Iterator[Pair]:
        self.rows = 0
        for file in self.corpus.files:
            for where, row in rows_in(file.path, self.fields):
                angle = draw(self.angles, row, seed=self.seed, number=self.rows)
                if angle is None:
                    raise InputError(self._suits_none(where, row))
                self.rows += 1
                self.slots |= row.keys()
                yield angle.source(row), angle.target(row)

    def texts(self) -> Iterator[str]:
        return (text for pair in self.pairs() for text in pair)

    def check_used(self) -> None:
        """Refuse angles that no row can be seen from: the user expects something else of the data.

        Which slots there are is known after the first pass.
        """
        for angle in self.angles:
            missing = set(angle.given + angle.wanted) - self.slots
            if missing and self.angles != default_angles():
                letter = min(missing)
                raise InputError(
                    f"--angles has {angle}, and no row of {self.corpus.origin} has the slot "
                    f"{letter} ({SLOTS[letter]}), field {self.fields[letter]!r}: leave that angle "
                    "out, or name the field with --slots."
                )

    def _suits_none(self, where: str, row: Mapping[str, str]) -> str:
        has = ", ".join(SLOTS[letter] for letter in row)
        if self.angles == default_angles():
            return (
                f"{where} has {has} alone: by default a question and an answer are needed; name "
                "fields with --slots, or other angles with --angles."
            )
        return (
            f"{where} has {has}, which suits none of the angles {', '.join(map(str, self.angles))}:"
            " leave it out, or add an angle that it suits."
        )


def tokenize_pairs(
    paths: Sequence[Path],
    *,
    model: str,
    angles: str | None = None,
    slots: Mapping[str, str] | None = None,
    seed: int = 1,
    licence: str | None = None,
    tokenizer_source: Path | None = None,
    vocab_size: int,
    block_size: int,
    validation_fraction: float = 0.02,
    cache_dir: Path,
    progress: Progress | None = None,
) -> TokenizedData:
    """Read rows with slots and make a pair of tokens of each, or take them from the cache.

    Args:
        paths: JSONL and Parquet files, and folders of them.
        model: its name, for messages.
        angles: such as ``QM->A, Q->A``; None for all that the rows' fields allow of those that
            give an answer, an explanation or both.
        slots: fields or columns by slot name, where they are called otherwise.
        seed: of the angle that each row is seen from.
        licence: the data's licence, if told.
        tokenizer_source: folder of a pretrained model whose tokenizer to use; None trains one.
        vocab_size: tokens in the vocabulary that is trained.
        block_size: most tokens of a source, and of a target; what is longer is cut.
        validation_fraction: share of the rows held out, at the end.
        cache_dir: where tokenizer and tokens are kept.
        progress: is told how far it is.

    Raises:
        InputError: if the rows cannot be used, or the cache cannot be written.
    """
    tell = progress or (lambda _: None)
    fields = fields_of_slots(slots or {})
    chosen = parse_angles(angles) if angles else default_angles()
    corpus = _corpus(paths, model, licence, tell)
    _check_datasets(corpus, model, fields)
    views = _Views(corpus, fields, chosen, seed)
    own = load_pretrained(tokenizer_source) if tokenizer_source else None
    key = own.fingerprint if own else f"bpe-{vocab_size}"
    told = [f"pairs {FORMAT}", views.corpus.sha256, fields, [*map(str, chosen)], seed, key]
    entry = CacheEntry(cache_dir, "\n".join(map(str, told)))
    if not entry.is_valid():
        entry.build(lambda folder: _write(folder, views, own, vocab_size, tell))
    tokenizer = own or load_trained(entry.folder / TOKENIZER, vocab_size, pairs=True)
    return _split(entry, views, tokenizer, block_size, validation_fraction, tell)


def _corpus(paths: Sequence[Path], model: str, licence: str | None, tell: Progress) -> Corpus:
    if not paths:
        raise InputError(NO_DATA.format(model=model))
    corpus = find_corpus(paths, licence=licence, progress=tell)
    kinds = ROWS | TABLES
    rows = tuple(file for file in corpus.files if file.path.suffix.lower() in kinds)
    others = [file.path for file in corpus.files if file not in rows]
    # What lies in a folder beside the rows is passed over; what the user named is not.
    named = next((path for path in others if path in paths), None)
    if named is not None or not rows:
        raise InputError(
            f"{named or corpus.origin} has no rows, and {model} needs them: JSONL or Parquet with "
            "fields such as question, answer and mcoptions."
        )
    return dataclasses.replace(corpus, files=rows, skipped=corpus.skipped + len(others))


def _check_datasets(corpus: Corpus, model: str, fields: Mapping[str, str]) -> None:
    """Refuse a curated dataset whose columns are no slots: it is text, and not rows."""
    for dataset in corpus.datasets:
        columns = dataset.sheet["data"]["columns"]
        if not set(columns) & set(fields.values()):
            raise InputError(
                f"{dataset.folder} was made by `carbon-train data prepare`: it holds text, and "
                f"{model} needs rows with fields such as question and answer; train on the rows "
                f"themselves, or name some of its columns ({', '.join(columns)}) with --slots."
            )


def _write(
    folder: Path, views: _Views, own: FileTokenizer | None, vocab_size: int, tell: Progress
) -> dict[str, Any]:
    tokenizer = keep_tokenizer(folder, own, views.texts(), vocab_size, tell, pairs=True)
    tell("making pairs of tokens")
    write_pairs(views.pairs(), tokenizer, folder)
    views.check_used()
    keep_manifest(folder, views.corpus)
    return {"rows": views.rows, "slots": "".join(sorted(views.slots))}


def _split(
    entry: CacheEntry, views: _Views, tokenizer: FileTokenizer, block_size: int,
    validation_fraction: float, tell: Progress,
) -> TokenizedData:  # fmt: skip
    facts, corpus = entry.facts(), views.corpus
    rows = int(facts["rows"])
    if rows < 2:
        raise InputError(
            f"{corpus.origin} has {rows} row; at least two are needed, one to train on and one to "
            "validate."
        )
    held_out = held_out_of(rows, validation_fraction)
    dtype = token_dtype(tokenizer.vocab_size)
    train = TokenPairs(entry.folder, dtype, block_size=block_size, count=rows - held_out)
    held = TokenPairs(entry.folder, dtype, block_size=block_size, first=rows - held_out)
    there = set(facts["slots"])
    used = [angle for angle in views.angles if set(angle.given + angle.wanted) <= there]
    cut = train.cut + held.cut
    if cut:
        tell(f"{cut:,} of {rows:,} rows are longer than {block_size} tokens and were cut")
    return TokenizedData(
        train=train,
        validation=held,
        tokenizer=tokenizer,
        **facts_of(corpus, entry),
        train_tokens=train.source_tokens + train.target_tokens,
        validation_tokens=held.source_tokens + held.target_tokens,
        block_size=block_size,
        pairs=PairFacts(
            rows=rows,
            cut_rows=cut,
            angles=", ".join(map(str, used)),
            source_share=train.source_tokens / (train.source_tokens + train.target_tokens),
            collate=padded,
        ),
    )
