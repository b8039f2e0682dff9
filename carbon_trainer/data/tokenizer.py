"""Byte-level BPE trained on the corpus, or a pretrained model's own tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer as Bpe
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from carbon_trainer.errors import InputError

END_OF_TEXT = "<|endoftext|>"
PADDING, END_OF_TARGET = "<pad>", "</s>"
"""The first tokens where pairs are trained on, as T5 has them."""

SMALLEST_VOCABULARY = 257
"""The 256 bytes and the end of text."""

TRAINING_CHARACTERS = 1_000_000_000
"""Most text that a tokenizer is trained on: more changes no merge that matters and costs hours.
Files are in the order of their hashes, so the beginning is a fair sample."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


class Tokenizer(Protocol):
    """Turns text into token ids."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id that it gives."""

    @property
    def end_of_text(self) -> int:
        """The id that stands after every document."""

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides which ids it gives."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids."""

    def save(self, path: Path) -> None:
        """Write it as a ``tokenizer.json``."""

    def save_pretrained(self, folder: Path) -> None:
        """Write it so that transformers' AutoTokenizer loads it from a folder."""


class FileTokenizer:
    """A tokenizer of the ``tokenizers`` library: one JSON file says it all.

    Args:
        bpe: the tokenizer; made to keep texts whole and to take special tokens in them as text.
        name: what it is, for people.
        end_of_text: id that stands after every document.
        padding: id that fills up batches; None where there is none.
    """

    def __init__(self, bpe: Bpe, name: str, end_of_text: int, padding: int | None = None) -> None:
        # Pretrained folders often bring a truncation; it would silently drop most of a document.
        bpe.no_truncation()
        bpe.no_padding()
        # A document that speaks of <|endoftext|> must not end there.
        bpe.encode_special_tokens = True
        self._bpe = bpe
        self.name = name
        self.end_of_text = end_of_text
        self._padding = padding
        self.vocab_size = 1 + max(bpe.get_vocab().values(), default=0)
        text = f"{end_of_text}\n{bpe.to_str()}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without special tokens."""
        encoded = self._bpe.encode_batch(list(texts), add_special_tokens=False)
        return [one.ids for one in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that ids stand for."""
        text: str = self._bpe.decode(list(ids), skip_special_tokens=False)
        return text

    def save(self, path: Path) -> None:
        """Write it as a ``tokenizer.json``."""
        # The library's own save turns a full disk into a bare Exception.
        path.write_text(self._bpe.to_str(), encoding="utf-8")

    def save_pretrained(self, folder: Path) -> None:
        """Write it so that transformers' AutoTokenizer loads it from ``folder``."""
        from transformers import PreTrainedTokenizerFast

        named = {"eos_token": self._bpe.id_to_token(self.end_of_text)}
        if self._padding is not None:
            named["pad_token"] = self._bpe.id_to_token(self._padding)
        wrapped = PreTrainedTokenizerFast(tokenizer_object=self._bpe, **named)  # type: ignore[no-untyped-call]
        wrapped.save_pretrained(folder)


def train_bpe(documents: Iterable[str], vocab_size: int, *, pairs: bool = False) -> FileTokenizer:
    """Train byte-level BPE (Radford et al. 2019, section 2.2); the same text gives the same.

    Args:
        documents: the text; at most its first ``TRAINING_CHARACTERS`` are used.
        vocab_size: tokens in the vocabulary; a small text may give fewer.
        pairs: whether it is for sources and targets, as T5's: token 0 is padding, token 1 stands
            at the end of both, and transformers puts it there too.

    Raises:
        InputError: if the vocabulary cannot hold every byte.
    """
    special = [PADDING, END_OF_TARGET] if pairs else [END_OF_TEXT]
    smallest = SMALLEST_VOCABULARY + len(special) - 1
    if vocab_size < smallest:
        also = ", padding" if pairs else ""
        raise InputError(
            f"--vocab-size is {vocab_size}, but byte-level BPE needs {smallest}: every byte{also} "
            "and the end of text."
        )
    bpe = Bpe(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_beginning(documents), trainer)
    if pairs:
        end = special.index(END_OF_TARGET)
        bpe.post_processor = processors.TemplateProcessing(
            single=f"$A {END_OF_TARGET}", special_tokens=[(END_OF_TARGET, end)]
        )
    return _trained(bpe, vocab_size, pairs=pairs)


def load_trained(path: Path, vocab_size: int, *, pairs: bool = False) -> FileTokenizer:
    """Load what ``train_bpe`` gave and ``save`` wrote."""
    return _trained(Bpe.from_file(str(path)), vocab_size, pairs=pairs)


def _trained(bpe: Bpe, vocab_size: int, *, pairs: bool) -> FileTokenizer:
    name = f"byte-level BPE of {vocab_size} tokens, trained on the corpus"
    return FileTokenizer(bpe, name, 1, 0) if pairs else FileTokenizer(bpe, name, 0)


def has_tokenizer(folder: Path) -> bool:
    """Tell whether a model's folder brings a tokenizer of its own."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def load_pretrained(folder: Path) -> FileTokenizer:
    """Load a pretrained model's own tokenizer.

    Raises:
        InputError: if the folder has none that can be read.
    """
    from transformers import AutoTokenizer

    try:
        wrapped = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        bpe: Bpe = Bpe.from_str(wrapped.backend_tokenizer.to_str())
    except Exception as error:
        # transformers raises errors of many kinds for a broken tokenizer.
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"cannot load the tokenizer in {folder}: {first[0].rstrip('.')}. Fetch the folder "
            "again."
        ) from error
    end = wrapped.eos_token_id
    if end is None:
        raise InputError(
            f"the tokenizer in {folder} has no end-of-text token: set eos_token in its "
            "tokenizer_config.json."
        )
    name = f"the model's own, {folder.resolve().name}"
    return FileTokenizer(bpe, name, int(end), wrapped.pad_token_id)


def _beginning(documents: Iterable[str]) -> Iterator[str]:
    seen = 0
    for document in documents:
        yield document
        seen += len(document)
        if seen >= TRAINING_CHARACTERS:
            return
