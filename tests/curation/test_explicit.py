"""Explicit words: by each text's language where there is a list, or the user's own."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

import pytest

from carbon_trainer.curation.explicit import (
    LIBRARY,
    LibraryWords,
    OwnWords,
    explicit_words,
)
from carbon_trainer.curation.texts import normalize
from carbon_trainer.curation.words import Words, fold_words
from carbon_trainer.errors import InputError


@pytest.fixture(scope="module")
def library() -> LibraryWords:
    return LibraryWords()


def _own(tmp_path: Path, text: str) -> OwnWords:
    path = tmp_path / "words.txt"
    path.write_text(text)
    return OwnWords(path)


def test_whole_words_and_phrases_are_counted_each_once(tmp_path: Path) -> None:
    words = _own(tmp_path, "# ours\nfoo\n\nbad  phrase\n")
    assert words.words == {"": 2}
    assert words.count(normalize("FOO foo, a Bad\n phrase; food"), None) == 2
    assert words.count("food and badphrase", "de") == 0


def test_of_words_that_begin_alike_the_longest_is_found() -> None:
    words = Words(fold_words(["foo", "foo bar", "foo bars", "fool", "b.r", "++"]))
    assert words.count("a foo bar") == 1
    assert words.count("a foo barn, a fool, and a foo") == 2
    assert words.count("b.r, ber, c++ and ++") == 2


def test_words_are_found_however_their_letters_are_composed() -> None:
    assert Words(fold_words(["verfl\u0075\u0308cht"])).count(normalize("Verfl\u00fccht!")) == 1


def test_many_words_are_found_as_by_trying_one_after_the_other() -> None:
    draw = random.Random(1)
    entries = {"".join(draw.choices("ab c", k=draw.randrange(1, 7))) for _ in range(300)}
    words = fold_words(entries)
    ordered = sorted(words, key=lambda word: (-len(word), word))
    plain = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)")
    for _ in range(200):
        text = normalize("".join(draw.choices("abcd  ", k=60)))
        assert Words(words).count(text) == len(set(plain.findall(text)))


def test_a_very_long_phrase_can_be_looked_for() -> None:
    phrase = "word " * 2000 + "end"
    assert Words(fold_words([phrase])).count(f"a {phrase} and more") == 1


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_block_list_without_words_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="has no words"):
        _own(tmp_path, text)


def test_a_text_is_held_against_the_list_of_its_language(library: LibraryWords) -> None:
    assert library.count("what the hell, and damn", "en") == 2
    assert library.count("the class assessed a shell", "en") == 0
    assert library.count("es ist hell", "de") == 0
    assert library.count("so ein arsch", "de") == 1
    assert library.count("so ein arsch", "en") == 0


def test_without_a_detected_language_english_is_assumed(library: LibraryWords) -> None:
    assert library.count("what the hell", None) == 1


def test_a_text_whose_language_has_no_list_is_not_looked_into(library: LibraryWords) -> None:
    assert library.count("hell", "zh") is None
    assert library.count("hell", "und") is None


def test_norwegian_has_one_list_for_both_its_languages(library: LibraryWords) -> None:
    assert library.count("faen", "nb") == library.count("faen", "nn") == 1


def test_regions_words_are_their_languages(library: LibraryWords) -> None:
    assert not [language for language in library.words if "_" in language]
    assert len(library.words) >= 23


def test_japanese_words_are_found_within_a_sentence_but_for_too_common_ones(
    library: LibraryWords,
) -> None:
    assert library.count("これはクソだった", "ja") == 1
    assert library.count("女の子が来た", "ja") == 0


def test_latin_entries_of_languages_without_spaces_are_whole_words() -> None:
    words = Words(fold_words(["titt", "糞"]), spaced=False)
    assert words.count("私はtittと糞") == 2
    assert words.count("atittb") == 0


def test_the_lists_say_what_they_are(library: LibraryWords, tmp_path: Path) -> None:
    assert library.name.startswith(f"the lists of {LIBRARY} ")
    assert re.fullmatch("[0-9a-f]{64}", library.sha256)
    assert _own(tmp_path, "b\na\n").sha256 == _own(tmp_path, "# x\na\nb\n").sha256


def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "badwords", None)
    with pytest.raises(InputError, match=r"--explicit without --blocklist needs badwords"):
        explicit_words(None)
    (tmp_path / "words.txt").write_text("a\n")
    assert explicit_words(tmp_path / "words.txt").count("a", None) == 1
