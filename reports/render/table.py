"""A table of text: what the HTML and the Markdown report both show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        key: stable name, also its anchor.
        caption: what it shows.
        columns: its columns' names; the first column names the rows.
        rows: its cells.
        numeric: numbers of the columns that hold numbers.
        note: what to know besides.
        keys: for each row the key of the figure that it shows, or nothing.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    keys: tuple[str, ...] = ()
