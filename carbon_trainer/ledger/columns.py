"""Reads many rows of a ledger as columns: a million intervals within a second.

Rows would come as a million tuples of Python objects. Here the database joins each column into one
text, which NumPy parses at once. (Arrow's driver for SQLite is as fast, but has a SQLite of its
own: two in one process undo one another's file locks, https://sqlite.org/howtocorrupt.html, 2.2.1.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from carbon_trainer.ledger import schema

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("device", "component", "method", "phase")
ROWS = 1_000_000
"""Records to read at once: a joined column stays far below what a database takes as one text."""

_BASE = 0x4E00
"""Names are numbered by characters from here on, of which one plane has some twenty thousand."""
_UNKNOWN = chr(_BASE - 1)


def interval_columns(
    engine: sa.Engine, run_id: str, columns: Sequence[str] = schema.INTERVAL_FIELDS
) -> pd.DataFrame:
    """Return a run's intervals in the order of the chain: integers, and categories for text.

    Args:
        engine: the ledger's database.
        run_id: the run.
        columns: fields of ``Interval``; ``seq`` comes first in any case.
    """
    import pandas as pd

    with engine.connect() as connection:
        names = _names(connection, run_id, schema.sums)
        batches = list(_batches(connection, run_id, columns, names))
        if any((batch[name] < 0).any() for batch in batches for name in columns if name in TEXTS):
            # The sums do not know of every interval: somebody has changed them.
            names = _names(connection, run_id, schema.intervals)
            batches = list(_batches(connection, run_id, columns, names))
    fields = ("seq", *columns)
    arrays = {name: np.concatenate([batch[name] for batch in batches]) for name in fields}
    # A database joins values in the order in which it reads them, which need not be the chain's;
    # all columns of a batch are read in the same one.
    order = np.argsort(arrays["seq"], kind="stable")
    frame_columns: dict[str, Any] = {}
    for name in fields:
        values = arrays.pop(name)[order]
        categories = pd.Index(names.get(name, []), dtype=object)
        frame_columns[name] = (
            pd.Categorical.from_codes(values, categories) if name in TEXTS else values
        )
    return pd.DataFrame(frame_columns, copy=False)


def sum_columns(engine: sa.Engine) -> pd.DataFrame:
    """Return the sums of all runs, by run and order of the chain."""
    import pandas as pd

    table = schema.sums
    query = sa.select(table).order_by(table.c.run_id, table.c.first_seq)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    names = [column.name for column in table.columns]
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    texts = ("run_id", *TEXTS)
    return pd.DataFrame(
        {
            name: pd.Categorical(values) if name in texts else np.array(values, dtype=_dtype(name))
            for name, values in zip(names, columns, strict=True)
        }
    )


def _dtype(name: str) -> type[np.generic]:
    return np.float64 if name == "variance_mj2" else np.int64


def _names(connection: sa.Connection, run_id: str, table: sa.Table) -> dict[str, list[str]]:
    """Return the texts that occur in a run's rows of a table."""
    columns = [table.c[name] for name in TEXTS]
    query = sa.select(*columns).where(table.c.run_id == run_id).distinct()
    rows = connection.execute(query).all()
    return {name: sorted({row[position] for row in rows}) for position, name in enumerate(TEXTS)}


def _batches(
    connection: sa.Connection, run_id: str, columns: Sequence[str],
    names: Mapping[str, Sequence[str]],
) -> Iterator[dict[str, npt.NDArray[np.int64]]]:  # fmt: skip
    table = schema.intervals.c
    last = connection.execute(
        sa.select(sa.func.coalesce(sa.func.max(table.seq), 0)).where(table.run_id == run_id)
    ).scalar_one()
    fields = ("seq", *columns)
    is_sqlite = connection.dialect.name == "sqlite"
    joined = [_joined(table[name], names.get(name), is_sqlite=is_sqlite) for name in fields]
    for after_seq in range(0, max(int(last), 1), ROWS):
        query = sa.select(*joined).where(
            table.run_id == run_id, table.seq > after_seq, table.seq <= after_seq + ROWS
        )
        texts = connection.execute(query).one()
        yield {
            name: _parsed(text or "", is_text=name in TEXTS)
            for name, text in zip(fields, texts, strict=True)
        }


def _joined(
    column: sa.Column[Any], names: Sequence[str] | None, *, is_sqlite: bool
) -> sa.ColumnElement[str]:
    """Join a column's values: numbers with commas, texts as a character each."""
    if names is None:
        # SQLite joins numbers as they are, and faster so.
        text = sa.type_coerce if is_sqlite else sa.cast
        return sa.func.aggregate_strings(text(column, sa.Text), ",")
    cases = [
        (column == _literal(name), _literal(chr(_BASE + position)))
        for position, name in enumerate(names)
    ]
    unknown = _literal(_UNKNOWN)
    character = sa.case(*cases, else_=unknown) if cases else unknown
    return sa.func.aggregate_strings(character, "")


def _literal(text: str) -> sa.BindParameter[str]:
    """Write a text into the statement itself: SQLite compares bound ones at half the speed."""
    return sa.bindparam(None, text, sa.String, unique=True, literal_execute=True)


def _parsed(text: str, *, is_text: bool) -> npt.NDArray[np.int64]:
    if is_text:
        return np.frombuffer(text.encode("utf-16-le"), dtype="<u2").astype(np.int64) - _BASE
    return np.fromstring(text, dtype=np.int64, sep=",") if text else np.zeros(0, dtype=np.int64)
