"""Tokenized pairs of a source and a target, one from each row, in memory-mapped files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from carbon_trainer.data.blocks import BATCH_DOCUMENTS, TokenType, token_dtype
from carbon_trainer.data.tokenizer import Tokenizer

TOKENS, ENDS = "tokens.bin", "ends.bin"
"""All sources and targets one after another, and where each of them ends."""

END_TYPE = np.dtype("<i8")

IGNORED_LABEL = -100
"""The label of padding, which the loss ignores, as in transformers and torch's cross_entropy."""

PADDING_ID = 0
"""Fills up a source; the attention mask hides it, so that any id will do."""

Pair = tuple[str, str]
Item = dict[str, torch.Tensor]


def write_pairs(pairs: Iterable[Pair], tokenizer: Tokenizer, folder: Path) -> None:
    """Write the ids of every source and target, an end-of-text after each.

    Args:
        pairs: sources and their targets.
        tokenizer: makes the ids.
        folder: where ``TOKENS`` and ``ENDS`` are written.
    """
    dtype = token_dtype(tokenizer.vocab_size)
    end = 0
    with (folder / TOKENS).open("wb") as tokens, (folder / ENDS).open("wb") as ends:
        for batch in _batched(pairs):
            for ids in tokenizer.encode_batch([text for pair in batch for text in pair]):
                tokens.write(np.array([*ids, tokenizer.end_of_text], dtype=dtype).tobytes())
                end += len(ids) + 1
                ends.write(np.array([end], dtype=END_TYPE).tobytes())


def _batched(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    remaining = iter(pairs)
    while batch := list(islice(remaining, BATCH_DOCUMENTS)):
        yield batch


class TokenPairs(Dataset[Item]):
    """A range of the pairs in a folder.

    An item has ``input_ids``, the source, and ``labels``, the target. What is longer than
    ``block_size`` is truncated and still ends with end-of-text.

    Args:
        folder: with ``TOKENS`` and ``ENDS``.
        dtype: type of the ids.
        block_size: most tokens of a source, and of a target.
        first: the first pair.
        count: how many; None for all from the first on.
    """

    def __init__(
        self, folder: Path, dtype: TokenType, *, block_size: int, first: int = 0,
        count: int | None = None,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._dtype = dtype
        self.block_size = block_size
        self._first = first
        ends = np.fromfile(folder / ENDS, dtype=END_TYPE)
        self._count = len(ends) // 2 - first if count is None else count
        starts = np.concatenate([np.zeros(1, END_TYPE), ends[:-1]])
        # A source and its target are neighbours in the file.
        selected = slice(2 * first, 2 * (first + self._count))
        self._begins, self._lengths = starts[selected], (ends - starts)[selected]
        self._tokens: npt.NDArray[np.unsignedinteger[Any]] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return {"input_ids": self._ids(2 * index), "labels": self._ids(2 * index + 1)}

    def __getstate__(self) -> dict[str, object]:
        """Drop the map, so that a worker process opens its own: pickling it would copy the file."""
        return {**self.__dict__, "_tokens": None}

    @property
    def source_tokens(self) -> int:
        """Tokens of all sources, after truncation."""
        return int(np.minimum(self._lengths[::2], self.block_size).sum())

    @property
    def target_tokens(self) -> int:
        """Tokens of all targets, after truncation."""
        return int(np.minimum(self._lengths[1::2], self.block_size).sum())

    @property
    def truncated(self) -> int:
        """Pairs whose source or target is longer than a block."""
        return int((self._lengths.reshape(-1, 2) > self.block_size).any(axis=1).sum())

    def _ids(self, index: int) -> torch.Tensor:
        begin, length = int(self._begins[index]), int(self._lengths[index])
        ids = self._mapped()[begin : begin + length].astype(np.int64)
        if length > self.block_size:
            ids = np.append(ids[: self.block_size - 1], ids[-1])
        return torch.from_numpy(ids)

    def _mapped(self) -> npt.NDArray[np.unsignedinteger[Any]]:
        if self._tokens is None:
            self._tokens = np.memmap(self._folder / TOKENS, dtype=self._dtype, mode="r")
        return self._tokens


def pad_batch(items: Sequence[Item]) -> dict[str, Any]:
    """Return a batch of pairs, each padded to the longest.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels`` of shape (batch, longest), and ``tokens``:
        how many of them are not padding, as an int, so that counting does not wait for a GPU.
    """
    sources = [item["input_ids"] for item in items]
    targets = [item["labels"] for item in items]
    masks = [torch.ones_like(source) for source in sources]
    return {
        "input_ids": pad_sequence(sources, batch_first=True, padding_value=PADDING_ID),
        "attention_mask": pad_sequence(masks, batch_first=True, padding_value=0),
        "labels": pad_sequence(targets, batch_first=True, padding_value=IGNORED_LABEL),
        "tokens": sum(len(ids) for ids in (*sources, *targets)),
    }
