"""Normalizing, hashing and cutting texts."""

from __future__ import annotations

import hashlib
import unicodedata


def normalize(text: str) -> str:
    """Return a text in Unicode's form NFC with each sequence of white space made one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def sha256(text: str) -> bytes:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).digest()


def pieces(text: str, max_characters: int) -> list[tuple[int, str]]:
    """Cut a text at white space into pieces.

    Args:
        text: the text.
        max_characters: the most characters in a piece; one without white space is cut there.

    Returns:
        Each piece with its offset in the text.
    """
    parts, start = [], 0
    while len(text) - start > max_characters:
        end = start + max_characters
        # A space near the beginning would make the piece short; a line end is worth it.
        space = text.rfind(" ", start + max_characters // 2, end)
        cut = max(space, text.rfind("\n", start, end))
        end = end if cut <= start else cut + 1
        parts.append((start, text[start:end]))
        start = end
    parts.append((start, text[start:]))
    return parts
