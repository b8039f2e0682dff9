"""Explicit content, by words: those of the library ``badwords`` by language, or the user's own.

The library's lists hold the List of Dirty, Naughty, Obscene and Otherwise Bad Words (CC BY 4.0),
which C4 was cleaned by, and more. A word says little about a text: C4's cleaning by one word
removed texts on medicine and by and about minorities (Dodge et al. 2021, arXiv 2104.08758).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from carbon_trainer.curation.extras import needs_extra
from carbon_trainer.curation.lists import reading
from carbon_trainer.curation.words import Words, fold_words
from carbon_trainer.errors import InputError

LIBRARY = "badwords-py"

ENGLISH = "en"
"""The language assumed for every text where languages are not detected."""

UNSPACED = frozenset({"ja", "th"})
"""Languages with a list that do not separate words by spaces."""

TOO_COMMON = {"ja": frozenset({"グロ", "女の子"})}
"""Entries that are ignored, as datatrove does: each is in a tenth of all texts."""

LIST_ALIASES = {"nb": "no", "nn": "no"}
"""Languages whose list is filed under another language's code."""


class ExplicitWords(Protocol):
    """Counts explicit words."""

    @property
    def name(self) -> str:
        """The list's name, for people."""

    @property
    def words(self) -> Mapping[str, int]:
        """Number of words by language; under an empty name where language does not matter."""

    @property
    def sha256(self) -> str:
        """Hash of all words."""

    def count(self, normalized: str, language: str | None) -> int | None:
        """Return how many different words are in a text; None where its language has no list.

        Args:
            normalized: the text, from ``texts.normalize``.
            language: its ISO 639-1 code; None where it was not detected.
        """


class OwnWords:
    """Words and phrases that the user supplies, for every language alike.

    Args:
        path: a word or phrase on each line; empty lines and lines that begin with # are
            ignored.

    Raises:
        InputError: if it cannot be read or is empty.
    """

    name = "a list of the preparer's own"

    def __init__(self, path: Path) -> None:
        with reading(path, "block list"):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        words = fold_words(line for line in lines if not line.lstrip().startswith("#"))
        if not words:
            raise InputError(f"the block list {path} has no words.")
        self.words = {"": len(words)}
        self.sha256 = _sha256({"": words})
        self._words = Words(words)

    def count(self, normalized: str, language: str | None) -> int | None:
        """Return how many different words are in a text, whatever its language."""
        return self._words.count(normalized)


class LibraryWords:
    """The lists of ``badwords``, each for texts of its language.

    Raises:
        InputError: if the library is not installed.
    """

    def __init__(self) -> None:
        with needs_extra("--explicit without --blocklist"):
            folder = files("badwords") / "resource" / "words"
        lists: dict[str, set[str]] = {}
        for file in folder.iterdir():
            if file.name.endswith(".txt"):
                # A region's words are its language's: es_419, pt_br.
                language = file.name.removesuffix(".txt").split("_")[0]
                words = fold_words(file.read_text(encoding="utf-8").splitlines())
                lists.setdefault(language, set()).update(words - TOO_COMMON.get(language, set()))
        self.name = f"the lists of {LIBRARY} {version(LIBRARY)}"
        self.words = {language: len(words) for language, words in sorted(lists.items())}
        self.sha256 = _sha256(lists)
        self._lists = lists
        self._matchers: dict[str, Words] = {}

    def count(self, normalized: str, language: str | None) -> int | None:
        """Return how many different words of its language's list are in a text."""
        code = LIST_ALIASES.get(language or "", language or ENGLISH)
        if code not in self._lists:
            return None
        if code not in self._matchers:
            self._matchers[code] = Words(self._lists[code], spaced=code not in UNSPACED)
        return self._matchers[code].count(normalized)


def explicit_words(blocklist: Path | None) -> ExplicitWords:
    """Return the user's own words if there are any, else the library's.

    Raises:
        InputError: if they cannot be read.
    """
    return OwnWords(blocklist) if blocklist else LibraryWords()


def _sha256(lists: Mapping[str, frozenset[str] | set[str]]) -> str:
    lines = (
        f"{language}\t{word}\n" for language in sorted(lists) for word in sorted(lists[language])
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
