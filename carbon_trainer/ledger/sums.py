"""Keeps a ledger's sums of intervals up to date with the intervals themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from carbon_trainer.ledger import schema
from carbon_trainer.ledger.facts import (
    IntensityUsed,
    Interval,
    MachineDescribed,
    Resumed,
    RunOpened,
)

NS_PER_DAY = 86_400 * 10**9

_FIELD_OF_KIND = {
    RunOpened.kind: "segment",
    Resumed.kind: "segment",
    IntensityUsed.kind: "factor",
    MachineDescribed.kind: "machine",
}
"""Which place in ``InForce`` a record of a kind takes."""


@dataclass(frozen=True, slots=True)
class InForce:
    """Numbers of the records that hold at a place in a chain; 0 where there is none before it."""

    segment: int = 0
    factor: int = 0
    machine: int = 0

    def after(self, seq: int, kind: str) -> InForce:
        """Return what holds after one more record."""
        field = _FIELD_OF_KIND.get(kind)
        return replace(self, **{field: seq}) if field else self


def in_force_at(connection: sa.Connection, run_id: str, seq: int) -> InForce:
    """Look up what holds after a run's record ``seq``."""
    facts = schema.facts.c
    query = (
        sa.select(facts.kind, sa.func.max(facts.seq))
        .where(facts.run_id == run_id, facts.kind.in_(list(_FIELD_OF_KIND)), facts.seq <= seq)
        .group_by(facts.kind)
    )
    in_force = InForce()
    # By number: run_opened and resumed take the same field, and the later one is in force.
    for kind, last in sorted(connection.execute(query).all(), key=lambda row: int(row[1])):
        in_force = in_force.after(int(last), kind)
    return in_force


Row = dict[str, Any]
Sums = dict[tuple[Any, ...], Row]
"""Rows of the table ``sums`` without their keys, by their keys."""


class Adder:
    """Adds up a run's intervals, record by record.

    Args:
        run_id: the run.
        in_force: what was in force before the first record.
    """

    def __init__(self, run_id: str, in_force: InForce = InForce()) -> None:
        self.run_id = run_id
        self.in_force = in_force
        self.sums: Sums = {}

    def add(self, seq: int, kind: str, fields: Mapping[str, Any]) -> None:
        """Take one record; its fields are looked at if it is an interval."""
        self.in_force = self.in_force.after(seq, kind)
        if kind != Interval.kind:
            return
        key = (
            self.run_id, self.in_force.segment, self.in_force.factor, self.in_force.machine,
            fields["device"], fields["component"], fields["phase"], fields["method"],
            int(fields["start_ns"]) // NS_PER_DAY,
        )  # fmt: skip
        row = self.sums.get(key)
        if row is None:
            row = self.sums[key] = {"first_seq": seq, **dict.fromkeys(schema.SUM_VALUES, 0)}
        row["intervals"] += 1
        row["energy_mj"] += int(fields["energy_mj"])
        # As a float: a square of millijoules may exceed the 64 bits that a database has.
        row["variance_mj2"] += float(fields["sigma_mj"]) ** 2
        row["duration_ns"] += int(fields["end_ns"]) - int(fields["start_ns"])


def difference(expected: Sums, recorded: Sums) -> str | None:
    """Say how stored sums differ from the right ones; None where they do not."""
    for key in sorted(expected.keys() | recorded.keys(), key=str):
        expected_row, stored_row = expected.get(key), recorded.get(key)
        if expected_row is None or stored_row is None or not _equal(expected_row, stored_row):
            keys = dict(zip(schema.SUM_KEYS, key, strict=True))
            stored_text = "nothing" if stored_row is None else f"{stored_row['energy_mj']:,} mJ"
            expected_text = (
                "nothing" if expected_row is None else f"{expected_row['energy_mj']:,} mJ"
            )
            return (
                f"the ledger's sum of {keys['device']}, {keys['phase']}, {keys['method']} is "
                f"{stored_text}, but its intervals add up to {expected_text}."
            )
    return None


def _equal(row: Row, other_row: Row) -> bool:
    exact = all(
        row[name] == other_row[name]
        for name in ("intervals", "energy_mj", "duration_ns", "first_seq")
    )
    # Variances are added in another order where records came in several batches.
    return exact and math.isclose(row["variance_mj2"], other_row["variance_mj2"], rel_tol=1e-9)


def add_sums(connection: sa.Connection, sums: Sums) -> None:
    """Add to the ledger's sums, in the connection's transaction."""
    if not sums:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert: Any = dialect.insert(schema.sums)
    columns = schema.sums.c
    totals = {name: columns[name] + insert.excluded[name] for name in schema.SUM_VALUES}
    # Added by the database: what a run has in there need not be read first.
    statement = insert.on_conflict_do_update(index_elements=list(schema.SUM_KEYS), set_=totals)
    rows = [
        {**dict(zip(schema.SUM_KEYS, key, strict=True)), **values} for key, values in sums.items()
    ]
    connection.execute(statement, rows)


def stored_sums(connection: sa.Connection, run_id: str) -> Sums:
    """Return a run's sums as the ledger has them."""
    rows = connection.execute(sa.select(schema.sums).where(schema.sums.c.run_id == run_id))
    return {
        tuple(row[key] for key in schema.SUM_KEYS): {
            name: row[name] for name in ("first_seq", *schema.SUM_VALUES)
        }
        for row in rows.mappings()
    }
