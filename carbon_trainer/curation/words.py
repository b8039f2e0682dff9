"""Searching texts for many words and phrases at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from carbon_trainer.curation.texts import normalize

_Node: TypeAlias = dict[str, "_Node"]

_END = ""
"""Key of a node where a word ends."""


def fold_words(lines: Iterable[str]) -> frozenset[str]:
    """Return words and phrases with normalized white space and folded case, without empty ones."""
    return frozenset(filter(None, (normalize(line).casefold() for line in lines)))


class Words:
    """Words and phrases to search for.

    Args:
        words: from ``fold_words``.
        spaced: whether the texts' language separates words by spaces. Where it does not, entries
            match within longer ones too, except those in Latin letters.
    """

    def __init__(self, words: Iterable[str], *, spaced: bool = True) -> None:
        entries = frozenset(words)
        latin = frozenset(word for word in entries if word.isascii())
        if spaced:
            patterns = [rf"(?<!\w){_any_of(entries)}(?!\w)"]
        else:
            patterns = [
                _any_of(entries - latin) if entries - latin else "",
                # ASCII's \w: letters of other scripts beside a Latin entry do not lengthen it.
                rf"(?a:(?<!\w){_any_of(latin)}(?!\w))" if latin else "",
            ]
        self._patterns = [re.compile(pattern) for pattern in patterns if pattern]

    def count(self, normalized: str) -> int:
        """Return how many different entries are in a text from ``texts.normalize``."""
        text = normalized.casefold()
        return sum(len(set(pattern.findall(text))) for pattern in self._patterns)


def _any_of(words: Iterable[str]) -> str:
    """Return an expression for any of the words; the longest that fits matches.

    It branches by common prefixes, as a trie: a plain alternation of thousands of words is tried
    word by word at every position of a text.
    """
    root: _Node = {}
    for word in words:
        node = root
        for letter in word:
            node = node.setdefault(letter, {})
        node[_END] = {}
    return _expression(root)


def _expression(node: _Node) -> str:
    start = ""
    # A chain without branches is followed in a loop: long phrases would be too deep to recurse.
    while len(node) == 1 and _END not in node:
        ((letter, node),) = node.items()
        start += re.escape(letter)
    branches = [
        re.escape(letter) + _expression(child) for letter, child in sorted(node.items()) if letter
    ]
    if not branches:
        return start
    return f"{start}(?:{'|'.join(branches)}){'?' if _END in node else ''}"
