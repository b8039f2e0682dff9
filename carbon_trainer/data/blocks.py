"""All documents as one stream of tokens, cut into blocks, in a memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from carbon_trainer.data.tokenizer import Tokenizer

BATCH_DOCUMENTS = 256
BATCH_CHARACTERS = 1 << 22
"""Text tokenized at once: enough to keep every core busy, little enough for any memory."""

TokenType = np.dtype[np.unsignedinteger[Any]]


def token_dtype(vocab_size: int) -> TokenType:
    """Return the smallest little-endian type that holds every id."""
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


def write_tokens(documents: Iterable[str], tokenizer: Tokenizer, path: Path) -> int:
    """Write every document's ids, an end-of-text after each; return how many were written."""
    dtype = token_dtype(tokenizer.vocab_size)
    written = 0
    with path.open("wb") as file:
        for batch in _batched(documents):
            for ids in tokenizer.encode_batch(batch):
                tokens = np.array([*ids, tokenizer.end_of_text], dtype=dtype)
                file.write(tokens.tobytes())
                written += len(tokens)
    return written


class PackedBlocks(Dataset[dict[str, torch.Tensor]]):
    """A range of the blocks in a token file.

    An item has ``input_ids`` and, the same, ``labels``, each of shape (block,): transformers'
    causal models shift labels themselves.

    Args:
        path: the file.
        dtype: type of the ids in it.
        block_size: tokens in a block.
        first: the first block.
        count: how many.
    """

    def __init__(
        self, path: Path, dtype: TokenType, *, block_size: int, first: int, count: int
    ) -> None:
        self._path = path
        self._dtype = dtype
        self.block_size = block_size
        self._first = first
        self._count = count
        self._tokens: npt.NDArray[np.unsignedinteger[Any]] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        start = (self._first + index) * self.block_size
        ids = torch.from_numpy(self._mapped()[start : start + self.block_size].astype(np.int64))
        return {"input_ids": ids, "labels": ids}

    def __getstate__(self) -> dict[str, object]:
        """Drop the map, so that a worker process opens its own: pickling it would copy the file."""
        return {**self.__dict__, "_tokens": None}

    def _mapped(self) -> npt.NDArray[np.unsignedinteger[Any]]:
        if self._tokens is None:
            self._tokens = np.memmap(self._path, dtype=self._dtype, mode="r")
        return self._tokens


def _batched(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
