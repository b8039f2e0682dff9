"""Decides for each document whether it is kept, by steps of rising cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carbon_trainer.curation import licences
from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.curation.explicit import ENGLISH, ExplicitWords, explicit_words
from carbon_trainer.curation.languages import LanguageDetector
from carbon_trainer.curation.near import TABLES, NearDuplicates, Signature
from carbon_trainer.curation.personal import PersonalData
from carbon_trainer.curation.removal import RemovalList, read_removal_list
from carbon_trainer.curation.sources import Source
from carbon_trainer.curation.state import KEPT, NEAR, SAME, Position, State
from carbon_trainer.curation.texts import normalize, sha256
from carbon_trainer.data.readers import Document

LICENCE = "licence not allowed"
REMOVAL_LIST = "on the removal list"
EXACT_DUPLICATE = "exact duplicate"
LANGUAGE = "other language"
EXPLICIT = "explicit content"
NEAR_DUPLICATE = "near duplicate"
PERSONAL = "personal data"

MAX_COUNTED_WORDS = 10
"""Documents with this many different explicit words or more share one count."""


@dataclass(frozen=True)
class Steps:
    """The requested steps, each None where it was not requested.

    Make them with ``Steps.of`` before a run is opened, so that a bad list or code is an input
    error and not a failed run.
    """

    licences: frozenset[str]
    removal: RemovalList | None
    languages: LanguageDetector | None
    explicit: ExplicitWords | None
    personal: PersonalData | None

    @classmethod
    def of(cls, config: PrepareConfig) -> Steps:
        """Read the lists and load the models that the settings name.

        Raises:
            InputError: if a list, code or model cannot be used.
        """
        return cls(
            licences.check_licences(config.licences, "--licences"),
            read_removal_list(config.remove) if config.remove else None,
            LanguageDetector(config.languages) if config.languages else None,
            explicit_words(config.blocklist) if config.explicit else None,
            PersonalData(config.pii_model) if config.pii else None,
        )


class Cleaner:
    """Keeps or leaves out documents, one after the other.

    Args:
        config: the settings.
        steps: the steps that they request.
        state: the documents that were kept so far.
        position: takes the counts.
    """

    def __init__(
        self, config: PrepareConfig, steps: Steps, state: State, position: Position
    ) -> None:
        self._config = config
        self._steps = steps
        self._state = state
        self._position = position
        self.near: NearDuplicates | None = None
        if config.near_duplicates is not None:
            for statement in TABLES.split(";")[:-1]:
                state.connection.execute(statement)
            self.near = NearDuplicates(state.connection, config.near_duplicates)

    def process(self, source: Source, doc_id: str, document: Document) -> None:
        """Keep a document or leave it out, and count it."""
        position = self._position
        position.read += 1
        position.count("read", source.name)
        reason = self._decide(source, doc_id, document)
        if reason is not None:
            position.leave_out(source.name, reason)

    def _decide(self, source: Source, doc_id: str, document: Document) -> str | None:
        """Return why a document is left out; None if it was kept."""
        steps, text = self._steps, document.text
        licence = licences.normalize(document.licence or source.licence)
        if steps.licences and licence not in steps.licences:
            self._position.count("refused licences", licence)
            return LICENCE
        normalized = normalize(text)
        hashes = sha256(text), sha256(normalized)
        listed = steps.removal.kind_of(doc_id, hashes, text) if steps.removal else None
        if listed is not None:
            self._position.count("removal list", listed)
            return REMOVAL_LIST
        if self._is_copy(source, doc_id, hashes, self._state.original_of(hashes[1]), SAME):
            return EXACT_DUPLICATE
        language = steps.languages.detect(text) if steps.languages else None
        if steps.languages and language and not steps.languages.allows(language):
            self._position.count("refused languages", language)
            return LANGUAGE
        if self._is_explicit(normalized, language):
            return EXPLICIT
        signature = self.near.signature(normalized) if self.near else None
        if self.near is not None and signature is not None:
            similar = self.near.find(signature)
            if self._is_copy(source, doc_id, hashes, similar, NEAR):
                return NEAR_DUPLICATE
        cleaned = self._without_personal_data(text)
        if cleaned is None:
            return PERSONAL
        # Only now is it an original: a copy of a document that was left out is judged by itself.
        self._keep(source, doc_id, hashes, signature, (cleaned, licence, language))
        return None

    def _is_copy(
        self, source: Source, doc_id: str, hashes: tuple[bytes, bytes], original: int | None,
        relation: int,
    ) -> bool:  # fmt: skip
        """Return whether a document is a copy of a kept one, and if so add it to the index."""
        if original is None:
            return False
        number = self._position.read
        self._state.add_document(number, source.name, doc_id, hashes, relation, original)
        return True

    def _is_explicit(self, normalized: str, language: str | None) -> bool:
        if self._steps.explicit is None:
            return False
        words = self._steps.explicit.count(normalized, language)
        if words is None:
            self._position.count("no explicit words", language or ENGLISH)
            return False
        if words:
            most = MAX_COUNTED_WORDS
            # Two digits, so that sorting the labels sorts the numbers.
            label = f"{words:02}" if words < most else f"{most}+"
            self._position.count("explicit words", label)
        if words < self._config.explicit_words:
            return False
        self._position.count("explicit", "documents")
        return self._config.explicit == "drop"

    def _without_personal_data(self, text: str) -> str | None:
        """Return a text as it may be kept; None if it may not."""
        personal = self._steps.personal
        spans = personal.find(text) if personal else []
        for span in spans:
            self._position.count("personal data", span.kind)
        if not spans or personal is None or self._config.pii == "keep":
            return text
        return None if self._config.pii == "drop" else personal.redact(text, spans)

    def _keep(
        self, source: Source, doc_id: str, hashes: tuple[bytes, bytes],
        signature: Signature | None, content: tuple[str, str, str | None],
    ) -> None:  # fmt: skip
        position, (text, licence, language) = self._position, content
        number = position.read
        self._state.add_document(number, source.name, doc_id, hashes, KEPT, number)
        if self.near is not None and signature is not None:
            self.near.add(number, signature)
        stated: Any = None if licence == licences.NOT_STATED else licence
        self._state.add_pending((number, text, doc_id, source.name, stated, language))
        position.documents += 1
        position.characters += len(text)
        position.pending_bytes += len(text.encode())
        position.count("kept", source.name)
        position.count("licences", licence)
        if language is not None:
            position.count("languages", language)
