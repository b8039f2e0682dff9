"""Decides of each document whether it is kept, by steps of rising cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carbon_trainer.curation import licences
from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.curation.explicit import ENGLISH, ExplicitWords, explicit_words
from carbon_trainer.curation.languages import Languages
from carbon_trainer.curation.near import TABLES, NearDuplicates, Signature
from carbon_trainer.curation.personal import PersonalData
from carbon_trainer.curation.removal import RemovalList, read_removal_list
from carbon_trainer.curation.sources import Source
from carbon_trainer.curation.state import KEPT, NEAR, SAME, Position, State
from carbon_trainer.curation.texts import evened, sha256
from carbon_trainer.data.readers import Document

LICENCE = "licence not allowed"
LISTED = "on the removal list"
EXACT = "exact duplicate"
LANGUAGE = "other language"
EXPLICIT = "explicit content"
NEARLY = "near duplicate"
PERSONAL = "personal data"

MANY = 10
"""Different explicit words from which on documents are counted together."""


@dataclass(frozen=True)
class Steps:
    """The steps that were asked for, each None where it was not.

    Make them with ``Steps.of`` before a run is opened, so that what is wrong with a list or a
    code is bad input.
    """

    licences: frozenset[str]
    removal: RemovalList | None
    languages: Languages | None
    explicit: ExplicitWords | None
    personal: PersonalData | None

    @classmethod
    def of(cls, config: PrepareConfig) -> Steps:
        """Read the lists and load the models that the settings name.

        Raises:
            InputError: if one cannot be used.
        """
        return cls(
            licences.checked(config.licences, "--licences"),
            read_removal_list(config.remove) if config.remove else None,
            Languages(config.languages) if config.languages else None,
            explicit_words(config.blocklist) if config.explicit else None,
            PersonalData(config.pii_model) if config.pii else None,
        )


class Cleaner:
    """Keeps or leaves out documents, one after the other.

    Args:
        config: the settings.
        steps: what they ask for.
        state: what was kept before.
        position: where it is counted.
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

    def take(self, source: Source, doc_id: str, document: Document) -> None:
        """Keep a document or leave it out, and count it."""
        here = self._position
        here.read += 1
        here.count("read", source.name)
        reason = self._decide(source, doc_id, document)
        if reason is not None:
            here.leave_out(source.name, reason)

    def _decide(self, source: Source, doc_id: str, document: Document) -> str | None:
        """Return why a document is left out; None if it was kept."""
        steps, text = self._steps, document.text
        licence = licences.spelled(document.licence or source.licence)
        if steps.licences and licence not in steps.licences:
            self._position.count("refused licences", licence)
            return LICENCE
        even = evened(text)
        hashes = sha256(text), sha256(even)
        listed = steps.removal.kind_of(doc_id, hashes, text) if steps.removal else None
        if listed is not None:
            self._position.count("removal list", listed)
            return LISTED
        if self._is_copy(source, doc_id, hashes, self._state.kept_with(hashes[1]), SAME):
            return EXACT
        language = steps.languages.of(text) if steps.languages else None
        if steps.languages and language and not steps.languages.keeps(language):
            self._position.count("refused languages", language)
            return LANGUAGE
        if self._is_explicit(even, language):
            return EXPLICIT
        signature = self.near.signature(even) if self.near else None
        if self.near is not None and signature is not None:
            like = self.near.find(signature)
            if self._is_copy(source, doc_id, hashes, like, NEAR):
                return NEARLY
        cleaned = self._without_personal_data(text)
        if cleaned is None:
            return PERSONAL
        self._keep(source, doc_id, hashes, signature, (cleaned, licence, language))
        return None

    def _is_copy(
        self, source: Source, doc_id: str, hashes: tuple[bytes, bytes], of: int | None,
        relation: int,
    ) -> bool:  # fmt: skip
        """Whether a document is a copy of a kept one; the index then knows that it is."""
        if of is None:
            return False
        self._state.remember(self._position.read, source.name, doc_id, hashes, relation, of)
        return True

    def _is_explicit(self, even: str, language: str | None) -> bool:
        if self._steps.explicit is None:
            return False
        words = self._steps.explicit.count(even, language)
        if words is None:
            self._position.count("no explicit words", language or ENGLISH)
            return False
        if words:
            self._position.count("explicit words", f"{words:02}" if words < MANY else f"{MANY}+")
        if words < self._config.explicit_words:
            return False
        self._position.count("explicit", "documents")
        return self._config.explicit == "drop"

    def _without_personal_data(self, text: str) -> str | None:
        """Return a text as it may be kept; None if it may not."""
        personal = self._steps.personal
        found = personal.find(text) if personal else []
        for one in found:
            self._position.count("personal data", one.kind)
        if not found or personal is None or self._config.pii == "keep":
            return text
        return None if self._config.pii == "drop" else personal.redact(text, found)

    def _keep(
        self, source: Source, doc_id: str, hashes: tuple[bytes, bytes],
        signature: Signature | None, told: tuple[str, str, str | None],
    ) -> None:  # fmt: skip
        here, (text, licence, language) = self._position, told
        self._state.remember(here.read, source.name, doc_id, hashes, KEPT, here.read)
        if self.near is not None and signature is not None:
            self.near.add(here.read, signature)
        stated: Any = None if licence == licences.NOT_STATED else licence
        self._state.put((here.read, text, doc_id, source.name, stated, language))
        here.documents += 1
        here.characters += len(text)
        here.pending_bytes += len(text.encode())
        here.count("kept", source.name)
        here.count("licences", licence)
        if language is not None:
            here.count("languages", language)
