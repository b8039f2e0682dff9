"""From rows with slots to tokenized pairs, which are cached by their inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carbon_trainer.data.blocks import token_dtype
from carbon_trainer.data.cache import CacheEntry
from carbon_trainer.data.corpus import Corpus, find_corpus
from carbon_trainer.data.pairs import Pair, TokenPairs, pad_batch, write_pairs
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
    PairDetails,
    Progress,
    TokenizedData,
    corpus_fields,
    save_manifest,
    save_tokenizer,
    validation_count,
)
from carbon_trainer.data.tokenizer import (
    FileTokenizer,
    load_pretrained,
    load_trained,
)
from carbon_trainer.errors import InputError

FORMAT = 1
"""Changed whenever the same rows and settings would give different tokens than before."""


@dataclass(slots=True)
class _AngledRows:
    """A corpus's rows, each with the angle drawn for it; can be iterated over several times."""

    corpus: Corpus
    fields: Mapping[str, str]
    angles: tuple[Angle, ...]
    seed: int
    rows: int = 0
    slots: set[str] = field(default_factory=set)

    def pairs(self) -> Iterator[Pair]:
        self.rows = 0
        for file in self.corpus.files:
            for place, row in rows_in(file.path, self.fields):
                angle = draw(self.angles, row, seed=self.seed, number=self.rows)
                if angle is None:
                    raise InputError(self._unsuitable(place, row))
                self.rows += 1
                self.slots |= row.keys()
                yield angle.source(row), angle.target(row)

    def texts(self) -> Iterator[str]:
        return (text for pair in self.pairs() for text in pair)

    def check_used(self) -> None:
        """Refuse angles that fit no row: the user expects other data.

        Needs a pass over the rows first, which collects their slots.
        """
        for angle in self.angles:
            missing = set(angle.inputs + angle.outputs) - self.slots
            if missing and self.angles != default_angles():
                letter = min(missing)
                raise InputError(
                    f"--angles has {angle}, and no row of {self.corpus.origin} has the slot "
                    f"{letter} ({SLOTS[letter]}), field {self.fields[letter]!r}: leave that angle "
                    "out, or name the field with --slots."
                )

    def _unsuitable(self, place: str, row: Mapping[str, str]) -> str:
        slots = ", ".join(SLOTS[letter] for letter in row)
        if self.angles == default_angles():
            return (
                f"{place} has only {slots}: by default a question and an answer are needed; name "
                "fields with --slots, or give other angles with --angles."
            )
        return (
            f"{place} has {slots}, which fits none of the angles "
            f"{', '.join(map(str, self.angles))}: leave it out, or add an angle that fits it."
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
    """Read rows with slots and tokenize a pair from each, or load them from the cache.

    Args:
        paths: JSONL and Parquet files, and folders of them.
        model: its name, for messages.
        angles: such as ``QM->A, Q->A``; None for those of ``DEFAULT_ANGLES`` that fit the rows.
        slots: fields or columns by slot name, where their names differ.
        seed: seed of the draw of each row's angle.
        licence: the data's licence, if given.
        tokenizer_source: folder of a pretrained model whose tokenizer to use; None trains one.
        vocab_size: tokens in the vocabulary that is trained.
        block_size: most tokens of a source, and of a target; what is longer is truncated.
        validation_fraction: share of the rows held out, at the end.
        cache_dir: folder of the cache.
        progress: called with lines on the progress, for people.

    Raises:
        InputError: if the rows cannot be used, or the cache cannot be written.
    """
    report = progress or (lambda _: None)
    fields = fields_of_slots(slots or {})
    drawn_angles = parse_angles(angles) if angles else default_angles()
    corpus = _corpus(paths, model, licence, report)
    _check_datasets(corpus, model, fields)
    angled = _AngledRows(corpus, fields, drawn_angles, seed)
    own = load_pretrained(tokenizer_source) if tokenizer_source else None
    key = own.fingerprint if own else f"bpe-{vocab_size}"
    # Part of the cache entry's name: another order or spelling would tokenize all data again.
    inputs = [f"pairs {FORMAT}", corpus.sha256, fields, [*map(str, drawn_angles)], seed, key]
    entry = CacheEntry(cache_dir, "\n".join(map(str, inputs)))
    if not entry.is_valid():
        entry.build(lambda folder: _write(folder, angled, own, vocab_size, report))
    tokenizer = own or load_trained(entry.folder / TOKENIZER, vocab_size, pairs=True)
    return _split(entry, angled, tokenizer, block_size, validation_fraction, report)


def _corpus(paths: Sequence[Path], model: str, licence: str | None, report: Progress) -> Corpus:
    if not paths:
        raise InputError(NO_DATA.format(model=model))
    corpus = find_corpus(paths, licence=licence, progress=report)
    kinds = ROWS | TABLES
    rows = tuple(file for file in corpus.files if file.path.suffix.lower() in kinds)
    others = [file.path for file in corpus.files if file not in rows]
    # Other files in a folder of rows are skipped; other files that the user gave are not.
    named = next((path for path in others if path in paths), None)
    if named is not None or not rows:
        raise InputError(
            f"{named or corpus.origin} has no rows, and {model} needs them: JSONL or Parquet with "
            "fields such as question, answer and mcoptions."
        )
    return dataclasses.replace(corpus, files=rows, skipped=corpus.skipped + len(others))


def _check_datasets(corpus: Corpus, model: str, fields: Mapping[str, str]) -> None:
    """Refuse a curated dataset whose columns are not slots: it is text, not rows."""
    for dataset in corpus.datasets:
        columns = dataset.sheet["data"]["columns"]
        if not set(columns) & set(fields.values()):
            raise InputError(
                f"{dataset.folder} was made by `carbon-train data prepare`: it holds text, and "
                f"{model} needs rows with fields such as question and answer; train on the rows "
                f"themselves, or name some of its columns ({', '.join(columns)}) with --slots."
            )


def _write(
    folder: Path, angled: _AngledRows, own: FileTokenizer | None, vocab_size: int, report: Progress
) -> dict[str, Any]:
    tokenizer = save_tokenizer(folder, own, angled.texts(), vocab_size, report, pairs=True)
    report("tokenizing pairs")
    write_pairs(angled.pairs(), tokenizer, folder)
    angled.check_used()
    save_manifest(folder, angled.corpus)
    return {"rows": angled.rows, "slots": "".join(sorted(angled.slots))}


def _split(
    entry: CacheEntry, angled: _AngledRows, tokenizer: FileTokenizer, block_size: int,
    validation_fraction: float, report: Progress,
) -> TokenizedData:  # fmt: skip
    facts, corpus = entry.facts(), angled.corpus
    rows = int(facts["rows"])
    if rows < 2:
        raise InputError(
            f"{corpus.origin} has {rows} row; at least two are needed, one to train on and one to "
            "validate."
        )
    held_out = validation_count(rows, validation_fraction)
    dtype = token_dtype(tokenizer.vocab_size)
    train = TokenPairs(entry.folder, dtype, block_size=block_size, count=rows - held_out)
    validation = TokenPairs(entry.folder, dtype, block_size=block_size, first=rows - held_out)
    slots = set(facts["slots"])
    used = [angle for angle in angled.angles if set(angle.inputs + angle.outputs) <= slots]
    truncated = train.truncated + validation.truncated
    if truncated:
        report(
            f"{truncated:,} of {rows:,} rows are longer than {block_size} tokens and were truncated"
        )
    return TokenizedData(
        train=train,
        validation=validation,
        tokenizer=tokenizer,
        **corpus_fields(corpus, entry),
        train_tokens=train.source_tokens + train.target_tokens,
        validation_tokens=validation.source_tokens + validation.target_tokens,
        block_size=block_size,
        pairs=PairDetails(
            rows=rows,
            cut_rows=truncated,
            angles=", ".join(map(str, used)),
            source_share=train.source_tokens / (train.source_tokens + train.target_tokens),
            collate=pad_batch,
        ),
    )
