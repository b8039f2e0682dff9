"""The few ways in which carbon-trainer says no.

Each message is one sentence for a person: what is wrong, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CarbonTrainerError(Exception):
    """Base of every error that carbon-trainer raises on purpose; ``exit_status`` is the CLI's."""

    exit_status = 1


class InputError(CarbonTrainerError):
    """What the user gave cannot be used: a flag, a file, a zone, a corpus."""

    exit_status = 2


class LedgerError(CarbonTrainerError):
    """The ledger cannot be read or written."""

    exit_status = 2


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return up to ``count`` of ``known`` that look most like ``name``, best first.

    Args:
        name: what the user typed.
        known: the names that would have been accepted.
        count: the most names to return.
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)
    return [by_folded[match] for match in found]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean …?`` for a mistyped name, or nothing where nothing is near."""
    near = nearest(name, known)
    return f" Did you mean {' or '.join(near)}?" if near else ""
