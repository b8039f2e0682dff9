"""Personal data in texts, by Presidio's recognisers of patterns, wholly offline.

Patterns find addresses of mail and network, telephone numbers, cards, accounts and the like. They
do not find names, nor where people live; an installed spaCy model finds some of these.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from carbon_trainer.curation.extras import needs_extra
from carbon_trainer.curation.texts import pieces
from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine
    from spacy.language import Language

LEAST_SCORE = 0.4
"""Presidio's scores below are guesses: digits that might be anything."""

PIECE_CHARACTERS = 100_000

LANGUAGE = "en"
"""Of the words around a number that make it likelier to be a telephone's, a card's …"""

_BY_MODEL = ("PERSON", "LOCATION", "NRP")


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data at a place in a text."""

    kind: str
    start: int
    end: int


class PersonalData:
    """Finds personal data.

    Args:
        model: an installed spaCy model that finds names and places too; None for patterns only.

    Raises:
        InputError: if Presidio or the model is not installed.
    """

    def __init__(self, model: str | None = None) -> None:
        with needs_extra("--pii"):
            self._words = _words(model)
            self._engine, self.kinds = _engine(self._words, has_model=model is not None)

    @property
    def words_remembered(self) -> int:
        """How many words are in memory; it does not grow with what is read."""
        return len(self._words.vocab.strings)

    def find(self, text: str) -> list[Found]:
        """Return what is found in a text, in order, no two overlapping."""
        found = []
        for at, piece in pieces(text, PIECE_CHARACTERS):
            words: Any = _WordsWhenAsked(self._engine.nlp_engine, piece)
            # Outside of a zone, spaCy would remember every word that it ever sees.
            with self._words.memory_zone():
                results = self._engine.analyze(
                    piece, language=LANGUAGE, entities=self.kinds, score_threshold=LEAST_SCORE,
                    nlp_artifacts=words,
                )  # fmt: skip
            found += [Found(r.entity_type, at + r.start, at + r.end) for r in _best(results)]
        return found

    def redact(self, text: str, found: list[Found]) -> str:
        """Return a text with each finding replaced by its kind: ``<EMAIL_ADDRESS>``."""
        parts, at = [], 0
        for one in found:
            parts += [text[at : one.start], f"<{one.kind}>"]
            at = one.end
        return "".join([*parts, text[at:]])


class _WordsWhenAsked:
    """A text's words for Presidio, split once one of them is asked for.

    Patterns need no words; those around a finding are asked for, and in most texts there is none.
    Splitting takes longer than all patterns together.
    """

    def __init__(self, splitter: Any, text: str) -> None:
        self._split = partial(splitter.process_text, text, LANGUAGE)

    def __getattr__(self, name: str) -> Any:
        words = self._split()
        self.__dict__.update(vars(words))
        return getattr(words, name)


def _best(results: list[Any]) -> list[Any]:
    """Return findings in order of place; of overlapping ones the surest, then the longest."""
    chosen: list[Any] = []
    for one in sorted(results, key=lambda r: (-r.score, r.start - r.end, r.start, r.entity_type)):
        if all(one.end <= other.start or one.start >= other.end for other in chosen):
            chosen.append(one)
    return sorted(chosen, key=lambda r: r.start)


def _engine(words: Language, *, has_model: bool) -> tuple[AnalyzerEngine, list[str]]:
    import presidio_analyzer
    from presidio_analyzer import predefined_recognizers as known

    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    recognizers = [
        _email_recognizer(), known.PhoneRecognizer(), known.CreditCardRecognizer(),
        known.IbanRecognizer(), known.IpRecognizer(), known.MacAddressRecognizer(),
        known.CryptoRecognizer(), known.UsSsnRecognizer(), known.UsItinRecognizer(),
        known.UkNinoRecognizer(),
    ]  # fmt: skip
    kinds = sorted({kind for one in recognizers for kind in one.supported_entities})
    if has_model:
        recognizers.append(known.SpacyRecognizer(supported_entities=list(_BY_MODEL)))
        kinds += _BY_MODEL
    registry = presidio_analyzer.RecognizerRegistry(
        recognizers=recognizers, supported_languages=[LANGUAGE]
    )
    splitter = presidio_analyzer.nlp_engine.SpacyNlpEngine()
    splitter.nlp = {LANGUAGE: words}  # type: ignore[assignment]
    engine = presidio_analyzer.AnalyzerEngine(
        registry=registry, nlp_engine=splitter, supported_languages=[LANGUAGE]
    )
    return engine, kinds


def _email_recognizer() -> Any:
    """Return the recogniser of mail addresses, held against the suffixes that came installed.

    Presidio's own asks the network for the newest list at its first use.
    """
    import tldextract
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    split = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(split(pattern_text).fqdn)

    return OfflineEmailRecognizer()


def _words(model: str | None) -> Language:
    """Return what splits a text into words, with a model's findings if there is one.

    Presidio's own way to load a model would download it.
    """
    import spacy

    if model is None:
        return spacy.blank(LANGUAGE)
    if not spacy.util.is_package(model):
        there = spacy.util.get_installed_models()
        raise InputError(
            f"--pii-model: no spaCy model {model!r} is installed; "
            f"{'those that are: ' + ', '.join(there) if there else 'none is'}. Install it, or "
            "leave --pii-model away: names and places are then not found."
        )
    return spacy.load(model)
