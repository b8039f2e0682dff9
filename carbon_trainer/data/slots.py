"""Slots and angles: which of a row's fields are a model's input, and which its output.

Slots, their letters and their text format are those of Macaw (Tafjord and Clark 2021,
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
"""All with a question in the input and an answer, an explanation or both as the output."""

NO_DATA = (
    "{model} needs questions and answers to train on, and Python comes with none: give "
    "JSONL or Parquet with --data, whose rows have fields such as question, answer and mcoptions."
)
"""The message where an encoder-decoder has no data."""

_LETTERS = ", ".join(f"{letter} ({name})" for letter, name in SLOTS.items())

Row = Mapping[str, str]
"""A row's texts by slot letter, without the slots that it lacks."""


@dataclass(frozen=True, slots=True)
class Angle:
    """The slots of a model's input and of its output, by their letters in order."""

    inputs: str
    outputs: str

    def __str__(self) -> str:
        return f"{self.inputs}->{self.outputs}"

    def fits(self, row: Row) -> bool:
        """Return whether a row has all of its slots."""
        return all(letter in row for letter in self.inputs + self.outputs)

    def source(self, row: Row) -> str:
        """Return the model's input: the names of the output slots, then the input slots."""
        names = [f"${SLOTS[letter]}$" for letter in self.outputs]
        return " ; ".join([*names, *_assignments(self.inputs, row)])

    def target(self, row: Row) -> str:
        """Return the model's expected output."""
        return " ; ".join(_assignments(self.outputs, row))


def parse_angles(text: str) -> tuple[Angle, ...]:
    """Parse angles such as ``QM->A, Q->AE``; one that is listed twice is drawn twice as often.

    Raises:
        InputError: if there is none, or one is invalid.
    """
    parts = [part.strip() for part in text.replace("→", "->").split(",") if part.strip()]
    if not parts:
        raise InputError("--angles lists no angle: give some, such as 'QM->A, Q->A'.")
    return tuple(_angle(part) for part in parts)


@functools.cache
def default_angles() -> tuple[Angle, ...]:
    """Return the angles that are drawn from where the user gives none."""
    return parse_angles(DEFAULT_ANGLES)


def fields_of_slots(field_names: Mapping[str, str]) -> dict[str, str]:
    """Return the field or column of each slot by its letter; by default the slot's name.

    Args:
        field_names: fields by slot name (``question``).

    Raises:
        InputError: if there is no such slot.
    """
    for slot in field_names:
        if slot not in SLOTS.values():
            raise InputError(
                f"--slots names the slot {slot!r}; slots are {', '.join(SLOTS.values())}."
                f"{did_you_mean(slot, SLOTS.values())}"
            )
    return {letter: field_names.get(name, name) for letter, name in SLOTS.items()}


def draw(angles: Sequence[Angle], row: Row, *, seed: int, number: int) -> Angle | None:
    """Draw a row's angle, which depends on nothing but the arguments.

    Args:
        angles: drawn from uniformly; those whose slots the row lacks are skipped.
        row: the row.
        seed: the run's.
        number: the row's number in the corpus, from 0.

    Returns:
        The angle; None if none fits the row.
    """
    fitting = [angle for angle in angles if angle.fits(row)]
    if not fitting:
        return None
    # A hash, not a generator: its result is the same in every version of Python and NumPy.
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=8).digest()
    return fitting[int.from_bytes(digest) % len(fitting)]


def options_text(options: Sequence[str]) -> str:
    """Return answer options as ``(A) first (B) second``."""
    return " ".join(
        f"({letter}) {option.strip()}"
        for letter, option in zip(string.ascii_uppercase, options, strict=False)
    )


def _angle(text: str) -> Angle:
    inputs, arrow, outputs = (part.strip().upper() for part in text.partition("->"))
    if not arrow or not inputs or not outputs:
        raise InputError(
            f"--angles has {text!r}, which is not an angle: write the input slots, ->, and the "
            "output slots, such as QM->A."
        )
    for letter in inputs + outputs:
        if letter not in SLOTS:
            raise InputError(
                f"--angles has {text!r}, and there is no slot {letter!r}: slots are {_LETTERS}."
            )
    if len(set(inputs + outputs)) < len(inputs + outputs):
        raise InputError(f"--angles has {text!r}, which has a slot twice: name each once.")
    return Angle(inputs, outputs)


def _assignments(letters: str, row: Row) -> list[str]:
    return [f"${SLOTS[letter]}$ = {row[letter]}" for letter in letters]
