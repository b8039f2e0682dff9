"""Personal data is found by pattern, replaced by its kind, without any network."""

from __future__ import annotations

import socket

import pytest

from carbon_trainer.curation import personal
from carbon_trainer.curation.personal import PersonalData
from carbon_trainer.curation.texts import pieces
from carbon_trainer.errors import InputError

EXAMPLES = {
    "EMAIL_ADDRESS": "write to jane.doe@example.com today",
    "PHONE_NUMBER": "call +44 20 7946 0958 now",
    "IP_ADDRESS": "it came from 203.0.113.77 at night",
    "CREDIT_CARD": "paid by card 4111 1111 1111 1111 once",
    "IBAN_CODE": "to account GB82 WEST 1234 5698 7654 32 then",
    "US_SSN": "social security number 536-90-4399 it was",
    "MAC_ADDRESS": "the card 00:1B:44:11:3A:B7 it was",
}


@pytest.fixture(scope="module")
def finder() -> PersonalData:
    return PersonalData()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_kind_is_found_and_redacted(finder: PersonalData, kind: str) -> None:
    text = EXAMPLES[kind]
    redacted = finder.redact(text, finder.find(text))
    assert f"<{kind}>" in redacted
    assert redacted.split("<")[0] == text[: len(redacted.split("<")[0])]
    assert not set("0123456789@") & set(redacted)


@pytest.mark.slow
def test_all_of_several_are_replaced_and_the_rest_stays(finder: PersonalData) -> None:
    text = "a@example.com, b@example.org; nothing else"
    assert finder.redact(text, finder.find(text)) == (
        "<EMAIL_ADDRESS>, <EMAIL_ADDRESS>; nothing else"
    )


@pytest.mark.slow
def test_names_and_streets_are_not_found_by_patterns(finder: PersonalData) -> None:
    assert finder.find("Jane Doe lives at Baker Street in London.") == []


@pytest.mark.slow
def test_a_number_that_is_no_card_is_left(finder: PersonalData) -> None:
    assert "CREDIT_CARD" not in {span.kind for span in finder.find("order 4111 1111 1111 1112")}


@pytest.mark.slow
def test_places_are_right_in_a_long_text(
    finder: PersonalData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal, "PIECE_CHARACTERS", 40)
    text = "plain words without anything in them here " * 3 + "and jane@example.com there"
    (span,) = finder.find(text)
    assert text[span.start : span.end] == "jane@example.com"


def test_pieces_are_cut_at_white_space_and_lose_nothing() -> None:
    text = "some words and\nsome more words " * 20 + "x" * 100
    cut = pieces(text, 30)
    assert "".join(piece for _, piece in cut) == text
    assert all(text[start : start + len(piece)] == piece for start, piece in cut)
    assert all(len(piece) <= 30 for _, piece in cut)


@pytest.mark.slow
def test_what_is_read_is_not_remembered(finder: PersonalData) -> None:
    finder.find("a first text")
    before = finder.vocabulary_size
    finder.find(" ".join(f"word{n}" for n in range(5000)))
    finder.find("a last text")
    assert finder.vocabulary_size - before < 50


@pytest.mark.slow
def test_a_model_that_is_not_installed_is_not_downloaded() -> None:
    with pytest.raises(InputError, match="no spaCy model 'en_core_web_nix' is installed"):
        PersonalData("en_core_web_nix")


@pytest.mark.slow
def test_words_are_split_only_where_something_is_found(
    finder: PersonalData, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = []
    splitter = finder._engine.nlp_engine
    process = splitter.process_text
    monkeypatch.setattr(
        splitter, "process_text", lambda text, *rest: split.append(text) or process(text, *rest)
    )
    assert finder.find("plain words without anything in them") == []
    assert not split
    assert finder.find(EXAMPLES["PHONE_NUMBER"])
    assert split == [EXAMPLES["PHONE_NUMBER"]]


@pytest.mark.slow
@pytest.mark.parametrize("text", [*EXAMPLES.values(), "ITIN 912-73-1234, taxpayer", "nothing"])
def test_as_much_is_found_as_where_words_are_split_first(finder: PersonalData, text: str) -> None:
    first = finder._engine.analyze(
        text, language="en", entities=finder.kinds, score_threshold=personal.MIN_SCORE
    )
    spans = [(span.kind, span.start, span.end) for span in finder.find(text)]
    assert spans == [(r.entity_type, r.start, r.end) for r in personal._without_overlaps(first)]
