"""The errors that carbon-trainer raises on purpose.

Each message is one sentence for a person: what is wrong, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CarbonTrainerError(Exception):
    """Base of every error that carbon-trainer raises on purpose; ``exit_status`` is the CLI's."""

    exit_status = 1


class InputError(CarbonTrainerError):
    """An input of the user's is invalid: a flag, a file, a zone, a corpus."""

    exit_status = 2


class LedgerError(CarbonTrainerError):
    """The ledger cannot be read or written."""

    exit_status = 2


def nearest(name: str, names: Iterable[str], *, count: int = 3) -> list[str]:
    """Return up to ``count`` of ``names`` that are most similar to ``name``, best first.

    Args:
        name: what the user typed.
        names: the names that would have been accepted.
        count: the maximum number of names to return.
    """
    by_folded = {candidate.casefold(): candidate for candidate in names}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)
    return [by_folded[match] for match in matches]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return `` Did you mean …?`` for a mistyped name, or nothing where none is similar."""
    matches = nearest(name, names)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""
