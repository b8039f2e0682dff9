"""The ledger's tables.

``facts`` holds every fact in the order it was appended, with its hash. Intervals, of which a
run has by far the most, keep their fields in typed columns of ``intervals`` so that sums are
the database's work; every other fact keeps them as canonical JSON in ``facts.body``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table(
    "ledger_meta",
    metadata,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("time_ns", BigInteger, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("body", Text, nullable=True),
    Column("sha256", String(64), nullable=False),
    Index("facts_by_kind", "kind", "run_id"),
)

intervals = Table(
    "intervals",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("device", String(120), nullable=False),
    Column("component", String(20), nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("energy_mj", BigInteger, nullable=False),
    Column("method", String(20), nullable=False),
    Column("sigma_mj", BigInteger, nullable=False),
    Column("phase", String(40), nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    ForeignKeyConstraint(["run_id", "seq"], ["facts.run_id", "facts.seq"]),
)

INTERVAL_FIELDS = tuple(
    column.name for column in intervals.columns if column.name not in ("run_id", "seq")
)
"""The columns of ``intervals`` that are the fact's own fields."""
