"""Words and phrases that are looked for in texts, many at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from carbon_trainer.curation.texts import evened

_Node: TypeAlias = dict[str, "_Node"]

_END = ""
"""Key of a node where a word ends."""


def folded(lines: Iterable[str]) -> frozenset[str]:
    """Return words and phrases as they are looked for: white space and case evened, none empty."""
    return frozenset(filter(None, (evened(line).casefold() for line in lines)))


class Words:
    """Words and phrases to look for.

    Args:
        words: from ``folded``.
        spaced: whether the texts' language parts its words. Where it does not, entries are looked
            for within longer ones too, but for those in Latin letters.
    """

    def __init__(self, words: Iterable[str], *, spaced: bool = True) -> None:
        wanted = frozenset(words)
        latin = frozenset(word for word in wanted if word.isascii())
        if spaced:
            patterns = [rf"(?<!\w){_any_of(wanted)}(?!\w)"]
        else:
            patterns = [
                _any_of(wanted - latin) if wanted - latin else "",
                rf"(?a:(?<!\w){_any_of(latin)}(?!\w))" if latin else "",
            ]
        self._patterns = [re.compile(pattern) for pattern in patterns if pattern]

    def count(self, even: str) -> int:
        """Return how many different ones are in a text whose white space is even."""
        text = even.casefold()
        return sum(len(set(pattern.findall(text))) for pattern in self._patterns)


def _any_of(words: Iterable[str]) -> str:
    """Return an expression of words by their common beginnings; the longest that fits is found.

    An alternation of the words themselves is tried word by word.
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
    while len(node) == 1 and _END not in node:
        ((letter, node),) = node.items()
        start += re.escape(letter)
    branches = [
        re.escape(letter) + _expression(after) for letter, after in sorted(node.items()) if letter
    ]
    if not branches:
        return start
    return f"{start}(?:{'|'.join(branches)}){'?' if _END in node else ''}"
