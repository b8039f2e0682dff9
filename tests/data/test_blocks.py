"""Packing: every token once, in order, whatever the documents."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from carbon_trainer.data.blocks import PackedBlocks


class Letters:
    """A tokenizer whose ids are code points: expected results are plain to see."""

    name = fingerprint = "letters"
    vocab_size = 0x110000
    end_of_text = 0

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]

    def save(self, path: Path) -> None: ...

    def save_pretrained(self, folder: Path) -> None: ...


def _packed(documents: list[str], block_size: int, folder: str) -> tuple[int, PackedBlocks]:
    from carbon_trainer.data.blocks import PackedBlocks, token_dtype, write_tokens

    path = Path(folder) / "tokens.bin"
    written = write_tokens(iter(documents), Letters(), path)
    dtype = token_dtype(Letters.vocab_size)
    count = written // block_size
    return written, PackedBlocks(path, dtype, block_size=block_size, first=0, count=count)


@pytest.mark.slow
@given(st.lists(st.text(max_size=30), max_size=40), st.integers(1, 20))
def test_no_token_is_lost_but_the_last_partial_block(texts: list[str], block_size: int) -> None:
    stream = [code for text in texts for code in [*map(ord, text), 0]]
    with tempfile.TemporaryDirectory() as folder:
        written, packed = _packed(texts, block_size, folder)
        ids = [int(i) for n in range(len(packed)) for i in packed[n]["input_ids"]]
    assert written == len(stream)
    assert ids == stream[: len(stream) - len(stream) % block_size]


@pytest.mark.slow
@pytest.mark.parametrize(("documents", "characters"), [(1, 10**9), (256, 3), (7, 50)])
def test_how_much_is_tokenized_at_once_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int, characters: int
) -> None:
    from carbon_trainer.data import blocks

    texts = [f"text {i}" for i in range(100)]
    _packed(texts, 8, str(tmp_path))
    usual = (tmp_path / "tokens.bin").read_bytes()
    monkeypatch.setattr(blocks, "BATCH_DOCUMENTS", documents)
    monkeypatch.setattr(blocks, "BATCH_CHARACTERS", characters)
    _packed(texts, 8, str(tmp_path))
    assert (tmp_path / "tokens.bin").read_bytes() == usual


def test_an_item_is_what_transformers_trains_on(tmp_path: Path) -> None:
    import torch

    _, packed = _packed(["abcdefgh"], 4, str(tmp_path))
    item = packed[1]
    assert item["input_ids"].tolist() == [ord(letter) for letter in "efgh"]
    assert item["input_ids"].dtype == torch.int64
    assert item["labels"].tolist() == item["input_ids"].tolist()


def test_there_is_no_block_beyond_the_last(tmp_path: Path) -> None:
    _, packed = _packed(["abcdefgh"], 4, str(tmp_path))
    with pytest.raises(IndexError):
        packed[2]
    assert len(list(packed)) == 2


def test_a_small_vocabulary_takes_two_bytes_a_token() -> None:
    from carbon_trainer.data.blocks import token_dtype

    assert token_dtype(65_536) == np.dtype("<u2")
    assert token_dtype(65_537) == np.dtype("<u4")


def test_a_worker_process_gets_the_place_not_the_tokens(tmp_path: Path) -> None:
    import torch

    _, packed = _packed(["abcdefgh" * 10_000], 4, str(tmp_path))
    expected = packed[7]["input_ids"]
    sent = pickle.dumps(packed)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent)[7]["input_ids"], expected)
