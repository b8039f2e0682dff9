"""Near duplicates are found on disk, by similarity, whatever has been kept before."""

from __future__ import annotations

import random
import sqlite3

import pytest

from carbon_trainer.curation.near import (
    PERMUTATIONS,
    SCHEME,
    SEED,
    SHINGLE_WORDS,
    TABLES,
    NearDuplicates,
)


def _index(threshold: float = 0.8) -> NearDuplicates:
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    return NearDuplicates(connection, threshold)


def _words(seed: int, count: int = 200) -> list[str]:
    draw = random.Random(seed)
    return [f"word{draw.randrange(5000)}" for _ in range(count)]


def _shingles(words: list[str]) -> list[str]:
    starts = range(len(words) - SHINGLE_WORDS + 1)
    return [" ".join(words[i : i + SHINGLE_WORDS]) for i in starts]


def _similarity(left: list[str], right: list[str]) -> float:
    first, second = set(_shingles(left)), set(_shingles(right))
    return len(first & second) / len(first | second)


def test_a_text_with_a_word_more_is_found_among_many() -> None:
    near = _index()
    for n in range(50):
        near.add(n, near.signature(" ".join(_words(n))))
    assert near.find(near.signature(" ".join([*_words(7), "more"]))) == 7


def test_a_text_of_other_words_is_not_found() -> None:
    near = _index()
    near.add(1, near.signature(" ".join(_words(1))))
    assert near.find(near.signature(" ".join(_words(2)))) is None


@pytest.mark.parametrize(("changed", "is_near"), [(1, True), (30, False)])
def test_the_threshold_parts_what_is_clearly_above_it_from_what_is_clearly_below(
    changed: int, is_near: bool
) -> None:
    words = _words(1)
    step = len(words) // changed
    other = [f"new{i}" if i % step == step // 2 else word for i, word in enumerate(words)]
    distance = abs(_similarity(words, other) - 0.8)
    near = _index()
    near.add(1, near.signature(" ".join(words)))
    assert distance > 4 * near.standard_error
    assert (near.find(near.signature(" ".join(other))) == 1) is is_near


def test_texts_shorter_than_a_shingle_are_alike_only_if_equal() -> None:
    near = _index()
    near.add(1, near.signature("two words"))
    assert near.find(near.signature("two words")) == 1
    assert near.find(near.signature("other words")) is None


def test_case_does_not_matter() -> None:
    near = _index()
    near.add(1, near.signature(" ".join(_words(1))))
    assert near.find(near.signature(" ".join(_words(1)).upper())) == 1


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_pairs_at_the_threshold_are_mostly_compared(threshold: float) -> None:
    assert _index(threshold).chance > 0.9


def test_a_signature_is_what_datasketch_makes_of_the_same_shingles() -> None:
    import datasketch

    words = _words(1)
    theirs = datasketch.MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME)
    theirs.update_batch({shingle.encode() for shingle in _shingles(words)})
    assert (_index().signature(" ".join(words)) == theirs.hashvalues).all()
