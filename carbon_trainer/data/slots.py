"""Slots of a question and angles on it: which of a row's fields a model gets, and which it gives.

Slots, their letters and the text they are written as are those of Macaw (Tafjord and Clark 2021,
arXiv 2109.02593).
"""

from __future__ import annotations

import functools
import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carbon_trainer.errors import InputError, did_you_mean

SLOTS: Mapping[str, str] = {
    "Q": "question",
    "A": "answer",
    "M": "mcoptions",
    "E": "explanation",
    "C": "context",
}
"""Slots by their letters."""

DEFAULT_ANGLES = (
    "Q->A, QM->A, QC->A, QMC->A, QE->A, QME->A, QEC->A, QMEC->A, "
    "QA->E, QMA->E, QAC->E, QMAC->E, Q->AE, QM->AE, QC->AE, QMC->AE"
)
"""All that give an answer, an explanation or both from a question and any other slots."""

NO_DATA = (
    "{model} learns to answer, and nothing that comes with Python has questions and answers: give "
    "JSONL or Parquet with --data, whose rows have fields such as question, answer and mcoptions."
)
"""What is said where an encoder-decoder has no data."""

_LETTERS = ", ".join(f"{letter} ({name})" for letter, name in SLOTS.items())

Row = Mapping[str, str]
"""A row's texts by slot letter; a slot that it lacks is not there."""


@dataclass(frozen=True, slots=True)
class Angle:
    """Slots that are given and slots that are to be found, by their letters in order."""

    given: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.given}->{self.wanted}"

    def fits(self, row: Row) -> bool:
        """Tell whether a row has all slots of it."""
        return all(letter in row for letter in self.given + self.wanted)

    def source(self, row: Row) -> str:
        """Return what the model is given: the names of what is wanted, then what is known."""
        wanted = [f"${SLOTS[letter]}$" for letter in self.wanted]
        return " ; ".join([*wanted, *_assigned(self.given, row)])

    def target(self, row: Row) -> str:
        """Return what the model is to give."""
        return " ; ".join(_assigned(self.wanted, row))


def parse_angles(text: str) -> tuple[Angle, ...]:
    """Read angles such as ``QM->A, Q->AE``; one that stands twice is drawn twice as often.

    Raises:
        InputError: if there is none, or one of them is none.
    """
    parts = [part.strip() for part in text.replace("→", "->").split(",") if part.strip()]
    if not parts:
        raise InputError("--angles names no angle: give some, such as 'QM->A, Q->A'.")
    return tuple(_angle(part) for part in parts)


@functools.cache
def default_angles() -> tuple[Angle, ...]:
    """Return the angles that are drawn from where none are named."""
    return parse_angles(DEFAULT_ANGLES)


def fields_of_slots(named: Mapping[str, str]) -> dict[str, str]:
    """Return the field or column of each slot by its letter: as named, else the slot's name.

    Args:
        named: fields by slot name (``question``).

    Raises:
        InputError: for a slot that there is not.
    """
    for slot in named:
        if slot not in SLOTS.values():
            raise InputError(
                f"--slots names the slot {slot!r}; slots are {', '.join(SLOTS.values())}."
                f"{did_you_mean(slot, SLOTS.values())}"
            )
    return {letter: named.get(name, name) for letter, name in SLOTS.items()}


def draw(angles: Sequence[Angle], row: Row, *, seed: int, number: int) -> Angle | None:
    """Choose the angle that a row is seen from: the same for a seed and a row's number, always.

    Args:
        angles: to choose from, evenly; those that the row has no slots for are passed over.
        row: the row.
        seed: the run's.
        number: the row's in the corpus, from 0.

    Returns:
        The angle; None if the row suits none.
    """
    fitting = [angle for angle in angles if angle.fits(row)]
    if not fitting:
        return None
    drawn = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=8).digest()
    return fitting[int.from_bytes(drawn) % len(fitting)]


def options_text(options: Sequence[str]) -> str:
    """Return answer options as ``(A) first (B) second``."""
    return " ".join(
        f"({letter}) {option.strip()}"
        for letter, option in zip(string.ascii_uppercase, options, strict=False)
    )


def _angle(text: str) -> Angle:
    given, arrow, wanted = (part.strip().upper() for part in text.partition("->"))
    if not arrow or not given or not wanted:
        raise InputError(
            f"--angles has {text!r}, which is no angle: write the slots that are given, ->, and "
            "those that are wanted, such as QM->A."
        )
    for letter in given + wanted:
        if letter not in SLOTS:
            raise InputError(
                f"--angles has {text!r}, and there is no slot {letter!r}: slots are {_LETTERS}."
            )
    if len(set(given + wanted)) < len(given + wanted):
        raise InputError(f"--angles has {text!r}, which has a slot twice: name each once.")
    return Angle(given, wanted)


def _assigned(letters: str, row: Row) -> list[str]:
    return [f"${SLOTS[letter]}$ = {row[letter]}" for letter in letters]
