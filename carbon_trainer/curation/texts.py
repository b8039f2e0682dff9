"""What makes two texts the same: their hashes, and the shape of a near duplicate."""

from __future__ import annotations

import hashlib
import unicodedata


def evened(text: str) -> str:
    """Return a text in Unicode's form NFC with every run of white space made one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def sha256(text: str) -> bytes:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).digest()


def pieces(text: str, longest: int) -> list[tuple[int, str]]:
    """Cut a text at white space into pieces.

    Args:
        text: to cut.
        longest: the most characters in a piece.

    Returns:
        Each piece with its place in the text.
    """
    found, start = [], 0
    while len(text) - start > longest:
        end = start + longest
        at = max(text.rfind(" ", start + longest // 2, end), text.rfind("\n", start, end))
        end = end if at <= start else at + 1
        found.append((start, text[start:end]))
        start = end
    found.append((start, text[start:]))
    return found
