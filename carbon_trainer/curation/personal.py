"""Personal data in texts, by Presidio's pattern recognisers, entirely offline.

Patterns find e-mail and network addresses, telephone, card and account numbers and the like. They
do not find names or places of residence; an installed spaCy model finds some of these.
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

MIN_SCORE = 0.4
"""Presidio's lower scores are guesses: digits that might be anything."""

PIECE_CHARACTERS = 100_000
"""Characters that are analysed at once: Presidio's and spaCy's memory grows with them."""

LANGUAGE = "en"
"""Language of the context words around a number that raise the score of its kind."""

_MODEL_KINDS = ("PERSON", "LOCATION", "NRP")
"""Kinds that only a spaCy model finds; NRP is nationality, religion or political group."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text that is personal data."""

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
            self._nlp = _load_nlp(model)
            self._engine, self.kinds = _engine(self._nlp, has_model=model is not None)

    @property
    def vocabulary_size(self) -> int:
        """Words in memory; their number does not grow with what is read."""
        return len(self._nlp.vocab.strings)

    def find(self, text: str) -> list[Span]:
        """Return the personal data in a text, in order and without overlaps."""
        spans = []
        for offset, piece in pieces(text, PIECE_CHARACTERS):
            artifacts: Any = _LazyNlpArtifacts(self._engine.nlp_engine, piece)
            # Outside of a zone, spaCy would keep every word that it ever reads in memory.
            with self._nlp.memory_zone():
                results = self._engine.analyze(
                    piece, language=LANGUAGE, entities=self.kinds, score_threshold=MIN_SCORE,
                    nlp_artifacts=artifacts,
                )  # fmt: skip
            spans += [
                Span(result.entity_type, offset + result.start, offset + result.end)
                for result in _without_overlaps(results)
            ]
        return spans

    def redact(self, text: str, spans: list[Span]) -> str:
        """Return a text with each span replaced by its kind: ``<EMAIL_ADDRESS>``."""
        parts, end = [], 0
        for span in spans:
            parts += [text[end : span.start], f"<{span.kind}>"]
            end = span.end
        return "".join([*parts, text[end:]])


class _LazyNlpArtifacts:
    """A text's words for Presidio, which are tokenized on first use.

    Patterns need no words. Presidio uses those around a match, and most texts have none; tokenizing
    takes longer than all patterns together.
    """

    def __init__(self, nlp_engine: Any, text: str) -> None:
        self._tokenize = partial(nlp_engine.process_text, text, LANGUAGE)

    def __getattr__(self, name: str) -> Any:
        # Called only for attributes that are missing: from then on they are all set.
        artifacts = self._tokenize()
        self.__dict__.update(vars(artifacts))
        return getattr(artifacts, name)


def _without_overlaps(results: list[Any]) -> list[Any]:
    """Return results by position; of overlapping ones that of the highest score, then longest."""
    best: list[Any] = []
    # Place and kind break ties, so that the same text always gives the same result.
    for result in sorted(
        results, key=lambda r: (-r.score, r.start - r.end, r.start, r.entity_type)
    ):
        if all(result.end <= other.start or result.start >= other.end for other in best):
            best.append(result)
    return sorted(best, key=lambda r: r.start)


def _engine(nlp: Language, *, has_model: bool) -> tuple[AnalyzerEngine, list[str]]:
    import presidio_analyzer
    from presidio_analyzer import predefined_recognizers as predefined

    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    recognizers = [
        _email_recognizer(), predefined.PhoneRecognizer(), predefined.CreditCardRecognizer(),
        predefined.IbanRecognizer(), predefined.IpRecognizer(), predefined.MacAddressRecognizer(),
        predefined.CryptoRecognizer(), predefined.UsSsnRecognizer(), predefined.UsItinRecognizer(),
        predefined.UkNinoRecognizer(),
    ]  # fmt: skip
    kinds = sorted({kind for recognizer in recognizers for kind in recognizer.supported_entities})
    if has_model:
        recognizers.append(predefined.SpacyRecognizer(supported_entities=list(_MODEL_KINDS)))
        kinds += _MODEL_KINDS
    registry = presidio_analyzer.RecognizerRegistry(
        recognizers=recognizers, supported_languages=[LANGUAGE]
    )
    nlp_engine = presidio_analyzer.nlp_engine.SpacyNlpEngine()
    # Set directly: its own load() would download the model.
    nlp_engine.nlp = {LANGUAGE: nlp}  # type: ignore[assignment]
    engine = presidio_analyzer.AnalyzerEngine(
        registry=registry, nlp_engine=nlp_engine, supported_languages=[LANGUAGE]
    )
    return engine, kinds


def _email_recognizer() -> Any:
    """Return a recogniser of e-mail addresses that uses the installed list of domain suffixes.

    Presidio's own fetches the newest list from the network on first use.
    """
    import tldextract
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text).fqdn)

    return OfflineEmailRecognizer()


def _load_nlp(model: str | None) -> Language:
    """Load a spaCy model, or a mere tokenizer where there is none. Nothing is downloaded."""
    import spacy

    if model is None:
        return spacy.blank(LANGUAGE)
    if not spacy.util.is_package(model):
        models = spacy.util.get_installed_models()
        raise InputError(
            f"--pii-model: no spaCy model {model!r} is installed "
            f"(installed: {', '.join(models) or 'none'}). Install it, or omit --pii-model: names "
            "and places are then not found."
        )
    return spacy.load(model)
