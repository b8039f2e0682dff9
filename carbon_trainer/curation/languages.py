"""Detects which language a text is in, by lingua's n-gram models of 75 languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.curation.extras import needs_extra
from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import lingua

DETECTION_CHARACTERS = 2000
"""Characters of a text, from its beginning, that its language is detected from."""

UNDETERMINED = "und"
"""ISO 639-2's code for an undetermined language."""

ANY = "any"


class LanguageDetector:
    """Detects a text's language.

    All of lingua's languages are candidates, whatever is kept: with few candidates, every text
    would be assigned one of them.

    Args:
        codes: ISO 639-1 codes to keep, or ``any``.

    Raises:
        InputError: if a code is unknown, or lingua is not installed.
    """

    def __init__(self, codes: list[str]) -> None:
        with needs_extra("--languages"):
            import lingua

        supported = sorted(_code(language) for language in lingua.Language.all())
        for code in codes:
            if code.lower() not in {*supported, ANY}:
                hint = did_you_mean(code, [*supported, ANY])
                raise InputError(
                    f"--languages: {code!r} is not the ISO 639-1 code of a language that can be "
                    f"detected.{hint} Supported codes: {', '.join(supported)}."
                )
        self.codes = frozenset(code.lower() for code in codes)
        self._detector = lingua.LanguageDetectorBuilder.from_all_languages().build()

    def detect(self, text: str) -> str:
        """Return a text's language as ISO 639-1 code, or ``und``."""
        language = self._detector.detect_language_of(text[:DETECTION_CHARACTERS])
        return UNDETERMINED if language is None else _code(language)

    def allows(self, code: str) -> bool:
        """Return whether texts of a language are kept."""
        return ANY in self.codes or code in self.codes


def _code(language: lingua.Language) -> str:
    return str(language.iso_code_639_1.name).lower()
