"""All documents as one stream of tokens, cut into blocks, kept in a memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from carbon_trainer.data.tokenizer import Tokenizer

DOCUMENTS_AT_ONCE = 256


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest little-endian type that holds every id."""
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


def write_tokens(documents: Iterable[str], tokenizer: Tokenizer, path: Path) -> int:
    """Write every document's ids, an end-of-text after each; return how many there are."""
    dtype = token_dtype(tokenizer.vocab_size)
    written = 0
    with path.open("wb") as file:
        for batch in _batched(documents, DOCUMENTS_AT_ONCE):
            for ids in tokenizer.encode_batch(batch):
                tokens = np.array([*ids, tokenizer.end_of_text], dtype=dtype)
                file.write(tokens.tobytes())
                written += len(tokens)
    return written


class PackedBlocks(Dataset[dict[str, torch.Tensor]]):
    """A range of the blocks in a token file.

    Args:
        path: the file.
        dtype: type of the ids in it.
        block_size: tokens in a block.
        first: the first block.
        count: how many.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[np.unsignedinteger],
        block_size: int,
        first: int,
        count: int,
    ) -> None:
        self._path = path
        self._dtype = dtype
        self.block_size = block_size
        self._first = first
        self._count = count
        self._tokens: np.ndarray[tuple[int], np.dtype[np.unsignedinteger]] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        start = (self._first + index) * self.block_size
        ids = self._mapped()[start : start + self.block_size].astype(np.int64)
        return {"input_ids": torch.from_numpy(ids)}

    def __getstate__(self) -> dict[str, object]:
        """Leave the map behind, so that a worker process makes its own."""
        return {**self.__dict__, "_tokens": None}

    def _mapped(self) -> np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]:
        if self._tokens is None:
            self._tokens = np.memmap(self._path, dtype=self._dtype, mode="r")
        return self._tokens


def _batched(documents: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, size)):
        yield batch
