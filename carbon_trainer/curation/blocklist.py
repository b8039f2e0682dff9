"""Explicit content, by a list of words and phrases that the user supplies."""

from __future__ import annotations

import re
from pathlib import Path

from carbon_trainer.errors import InputError


class Blocklist:
    """Words and phrases to look for.

    Args:
        path: a word or phrase on each line; empty lines and lines that begin with # are passed
            over.

    Raises:
        InputError: if it cannot be read or has no words.
    """

    def __init__(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            raise InputError(f"there is no block list {path}.") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text: convert it, e.g. with iconv.") from error
        except OSError as error:
            raise InputError(f"cannot read the block list {path}: {error.strerror}.") from error
        words = {
            " ".join(line.casefold().split())
            for line in lines
            if line.strip() and not line.lstrip().startswith("#")
        }
        if not words:
            raise InputError(f"the block list {path} has no words.")
        # The longest first: an alternation takes the first that fits.
        ordered = sorted(words, key=lambda word: (-len(word), word))
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)")
        self.words = len(words)

    def count(self, evened: str) -> int:
        """Return how many different words of the list are in a text whose white space is even."""
        return len(set(self._pattern.findall(evened.casefold())))
