"""Byte-level BPE trained on the corpus, or a pretrained model's own tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer as Bpe
from tokenizers import decoders, models, pre_tokenizers, trainers

from carbon_trainer.errors import InputError

END_OF_TEXT = "<|endoftext|>"


class Tokenizer(Protocol):
    """Turns text into token ids."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def vocab_size(self) -> int:
        """The number of tokens that it knows."""

    @property
    def end_of_text(self) -> int:
        """The id that stands between documents."""

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides which ids it gives."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids."""

    def save(self, path: Path) -> None:
        """Write it as a ``tokenizer.json``."""


class FileTokenizer:
    """A tokenizer of the ``tokenizers`` library: one JSON file says it all."""

    def __init__(self, bpe: Bpe, name: str, end_of_text: int) -> None:
        self._bpe = bpe
        self.name = name
        self.end_of_text = end_of_text
        self.vocab_size = bpe.get_vocab_size()
        self.fingerprint = hashlib.sha256(bpe.to_str().encode()).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without special tokens."""
        encoded = self._bpe.encode_batch(list(texts), add_special_tokens=False)
        return [one.ids for one in encoded]

    def save(self, path: Path) -> None:
        """Write it as a ``tokenizer.json``."""
        self._bpe.save(str(path))


def train_bpe(documents: Iterable[str], vocab_size: int) -> FileTokenizer:
    """Train byte-level BPE (Radford et al. 2019, section 2.2); the same text gives the same.

    Args:
        documents: the text.
        vocab_size: tokens in the vocabulary.
    """
    bpe = Bpe(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(documents, trainer)
    return FileTokenizer(bpe, _trained_name(vocab_size), 0)


def load_trained(path: Path, vocab_size: int) -> FileTokenizer:
    """Load what ``train_bpe`` gave and ``save`` wrote."""
    return FileTokenizer(Bpe.from_file(str(path)), _trained_name(vocab_size), 0)


def load_pretrained(folder: Path) -> FileTokenizer:
    """Load a pretrained model's own tokenizer.

    Raises:
        InputError: if the folder has none that can be read.
    """
    from transformers import AutoTokenizer

    try:
        wrapped = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        bpe: Bpe = wrapped.backend_tokenizer
    except Exception as error:
        # transformers raises errors of many kinds for a broken tokenizer.
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"cannot load the tokenizer in {folder}: {first[0]}") from error
    end = wrapped.eos_token_id
    if end is None:
        raise InputError(f"the tokenizer in {folder} has no end-of-text token.")
    return FileTokenizer(bpe, f"the model's own, {folder.name}", int(end))


def _trained_name(vocab_size: int) -> str:
    return f"byte-level BPE of {vocab_size} tokens, trained on the corpus"
