"""Which language a text is in, by lingua's n-gram models of 75 languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.curation.extras import needs_extra
from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import lingua

LOOKED_AT = 2000
"""Characters of a text that are looked at, from its beginning."""

UNDETERMINED = "und"
"""ISO 639-2's code for a language that cannot be told."""

ANY = "any"


class Languages:
    """Tells a text's language.

    All of lingua's languages compete, whatever is kept: among few, every text is one of them.

    Args:
        kept: ISO 639-1 codes to keep, or ``any``.

    Raises:
        InputError: if a code is not known, or lingua is not installed.
    """

    def __init__(self, kept: list[str]) -> None:
        with needs_extra("--languages"):
            import lingua

        known = {_code(one): one for one in lingua.Language.all()}
        for code in kept:
            if code.lower() not in {*known, ANY}:
                hint = did_you_mean(code, [*known, ANY])
                raise InputError(
                    f"--languages: {code!r} is no ISO 639-1 code of a language that can be told."
                    f"{hint} They are {', '.join(sorted(known))}."
                )
        self.kept = frozenset(code.lower() for code in kept)
        self._detector = lingua.LanguageDetectorBuilder.from_all_languages().build()

    def of(self, text: str) -> str:
        """Return a text's language as ISO 639-1 code, or ``und``."""
        found = self._detector.detect_language_of(text[:LOOKED_AT])
        return UNDETERMINED if found is None else _code(found)

    def keeps(self, code: str) -> bool:
        """Whether texts of a language are kept."""
        return ANY in self.kept or code in self.kept


def _code(language: lingua.Language) -> str:
    return str(language.iso_code_639_1.name).lower()
