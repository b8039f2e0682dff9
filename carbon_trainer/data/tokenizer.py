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
"""The first tokens of a tokenizer for pairs, as in T5."""

SMALLEST_VOCABULARY = 257
"""The 256 bytes and the end of text."""

TRAINING_CHARACTERS = 1_000_000_000
"""The most text that a tokenizer is trained on: more hardly changes the merges, and takes hours.
Files are in the order of their hashes, so the beginning is a fair sample."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


class Tokenizer(Protocol):
    """Turns text into token ids."""

    @property
    def name(self) -> str:
        """Its description, for people."""

    @property
    def vocab_size(self) -> int:
        """One more than its largest id."""

    @property
    def end_of_text(self) -> int:
        """The id that stands after every document."""

    @property
    def fingerprint(self) -> str:
        """A hash of all that determines its ids."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids."""

    def save(self, path: Path) -> None:
        """Write it as a ``tokenizer.json``."""

    def save_pretrained(self, folder: Path) -> None:
        """Write it into a folder, for transformers' AutoTokenizer."""


class FileTokenizer:
    """A tokenizer of the ``tokenizers`` library, which is one JSON file.

    Args:
        bpe: the tokenizer; is changed to not truncate texts, and to encode special tokens as text.
        name: its description, for people.
        end_of_text: id that stands after every document.
        padding: id that pads batches; None where there is none.
    """

    def __init__(self, bpe: Bpe, name: str, end_of_text: int, padding: int | None = None) -> None:
        # Pretrained folders often set a truncation, which would silently drop most of a document.
        bpe.no_truncation()
        bpe.no_padding()
        # A document that contains the text <|endoftext|> must not end there.
        bpe.encode_special_tokens = True
        self._bpe = bpe
        self.name = name
        self.end_of_text = end_of_text
        self._padding = padding
        # Not the number of tokens: ids of added tokens may leave gaps.
        self.vocab_size = 1 + max(bpe.get_vocab().values(), default=0)
        text = f"{end_of_text}\n{bpe.to_str()}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without special tokens."""
        encodings = self._bpe.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids."""
        text: str = self._bpe.decode(list(ids), skip_special_tokens=False)
        return text

    def save(self, path: Path) -> None:
        """Write it as a ``tokenizer.json``."""
        # The library's own save turns a full disk into a bare Exception.
        path.write_text(self._bpe.to_str(), encoding="utf-8")

    def save_pretrained(self, folder: Path) -> None:
        """Write it into a folder, for transformers' AutoTokenizer."""
        from transformers import PreTrainedTokenizerFast

        special_tokens = {"eos_token": self._bpe.id_to_token(self.end_of_text)}
        if self._padding is not None:
            special_tokens["pad_token"] = self._bpe.id_to_token(self._padding)
        wrapped = PreTrainedTokenizerFast(tokenizer_object=self._bpe, **special_tokens)  # type: ignore[no-untyped-call]
        wrapped.save_pretrained(folder)


def train_bpe(documents: Iterable[str], vocab_size: int, *, pairs: bool = False) -> FileTokenizer:
    """Train byte-level BPE (Radford et al. 2019, section 2.2), reproducibly.

    Args:
        documents: the text; at most its first ``TRAINING_CHARACTERS`` are used.
        vocab_size: tokens in the vocabulary; a short text may give fewer.
        pairs: whether it is for sources and targets, as T5's: token 0 is padding, and token 1 ends
            both, which transformers appends too.

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
    bpe.train_from_iterator(_training_texts(documents), trainer)
    if pairs:
        end = special.index(END_OF_TARGET)
        bpe.post_processor = processors.TemplateProcessing(
            single=f"$A {END_OF_TARGET}", special_tokens=[(END_OF_TARGET, end)]
        )
    return _file_tokenizer(bpe, vocab_size, pairs=pairs)


def load_trained(path: Path, vocab_size: int, *, pairs: bool = False) -> FileTokenizer:
    """Load a tokenizer that ``train_bpe`` trained and ``save`` wrote."""
    return _file_tokenizer(Bpe.from_file(str(path)), vocab_size, pairs=pairs)


def _file_tokenizer(bpe: Bpe, vocab_size: int, *, pairs: bool) -> FileTokenizer:
    name = f"byte-level BPE of {vocab_size} tokens, trained on the corpus"
    return FileTokenizer(bpe, name, 1, 0) if pairs else FileTokenizer(bpe, name, 0)


def has_tokenizer(folder: Path) -> bool:
    """Return whether a model's folder has a tokenizer of its own."""
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
            f"cannot load the tokenizer in {folder}: {first[0].rstrip('.')}. Download it again."
        ) from error
    end = wrapped.eos_token_id
    if end is None:
        raise InputError(
            f"the tokenizer in {folder} has no end-of-text token: set eos_token in its "
            "tokenizer_config.json."
        )
    name = f"the model's own, {folder.resolve().name}"
    return FileTokenizer(bpe, name, int(end), wrapped.pad_token_id)


def _training_texts(documents: Iterable[str]) -> Iterator[str]:
    characters = 0
    for document in documents:
        yield document
        characters += len(document)
        if characters >= TRAINING_CHARACTERS:
            return
