"""Tokenizers lose nothing, are the same each time, and take special tokens in text as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Bpe

from carbon_trainer.data import tokenizer as tokenizers
from carbon_trainer.data.tokenizer import (
    FileTokenizer,
    has_tokenizer,
    load_pretrained,
    load_trained,
    train_bpe,
)
from carbon_trainer.errors import InputError

TEXTS = [f"some text, number {i}\n" for i in range(50)]
TRAINED = train_bpe(TEXTS, 300)


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    assert TRAINED.decode(TRAINED.encode_batch([text])[0]) == text


def test_training_again_gives_the_same() -> None:
    assert train_bpe(TEXTS, 300).fingerprint == TRAINED.fingerprint
    assert train_bpe(TEXTS, 290).fingerprint != TRAINED.fingerprint


def test_end_of_text_is_token_zero() -> None:
    assert TRAINED.end_of_text == 0
    assert TRAINED.decode([0]) == "<|endoftext|>"


def test_a_document_that_speaks_of_the_end_of_text_does_not_end_there() -> None:
    ids = TRAINED.encode_batch(["a<|endoftext|>b"])[0]
    assert 0 not in ids
    assert TRAINED.decode(ids) == "a<|endoftext|>b"


def test_the_vocabulary_is_as_large_as_asked_for_or_as_the_text_gives() -> None:
    assert TRAINED.vocab_size == 300
    assert train_bpe(["a"], 5000).vocab_size == 257


def test_a_vocabulary_smaller_than_the_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="--vocab-size is 256, but byte-level BPE needs 257"):
        train_bpe(TEXTS, 256)


def test_an_error_in_the_text_is_not_swallowed_by_training() -> None:
    def broken():
        yield "text"
        raise InputError("line 3")

    with pytest.raises(InputError, match="line 3"):
        train_bpe(broken(), 300)


def test_training_stops_reading_after_enough_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "TRAINING_CHARACTERS", 100)
    read: list[str] = []
    train_bpe((read.append(text) or text for text in TEXTS), 300)
    assert sum(map(len, read)) - len(read[-1]) < 100 <= sum(map(len, read))


def test_what_is_saved_loads_as_the_same(tmp_path: Path) -> None:
    TRAINED.save(tmp_path / "tokenizer.json")
    assert load_trained(tmp_path / "tokenizer.json", 300).fingerprint == TRAINED.fingerprint


@pytest.mark.slow
def test_a_pretrained_folders_own_tokenizer_is_used(tmp_path: Path) -> None:
    assert not has_tokenizer(tmp_path)
    TRAINED.save_pretrained(tmp_path)
    own = load_pretrained(tmp_path)
    assert has_tokenizer(tmp_path)
    assert own.encode_batch(TEXTS) == TRAINED.encode_batch(TEXTS)
    assert own.end_of_text == 0
    assert own.name == f"the model's own, {tmp_path.name}"


def test_a_truncation_that_a_pretrained_tokenizer_brings_is_turned_off() -> None:
    bpe = Bpe.from_str(TRAINED._bpe.to_str())
    bpe.enable_truncation(4)
    bpe.enable_padding(length=64)
    assert FileTokenizer(bpe, "x", 0).encode_batch(TEXTS) == TRAINED.encode_batch(TEXTS)


@pytest.mark.slow
def test_a_tokenizer_without_end_of_text_is_refused(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=TRAINED._bpe).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no end-of-text token: set eos_token"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_broken_tokenizer_is_named(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=f"cannot load the tokenizer in {tmp_path}") as caught:
        load_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
