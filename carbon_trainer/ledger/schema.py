"""The ledger's tables.

``facts`` holds every fact in the order it was appended, with its hash. Intervals, of which a
run has by far the most, keep their fields in typed columns of ``intervals`` so that sums are
the database's work; every other fact keeps them as canonical JSON in ``facts.body``.

``sums`` holds nothing new: the intervals of a run added up by everything that reports distinguish,
so that a portfolio of thousands of runs need not read their millions of intervals. It is kept up
in the transaction that appends the intervals, and ``verify`` compares it with them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 2
REVISION = "0002"
"""The migration that leads to this schema (``ledger/migrations/versions``)."""

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
    Index("facts_by_kind_of_run", "kind", "run_id", "seq"),
)

intervals = Table(
    "intervals",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("device", Text, nullable=False),
    Column("component", Text, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("energy_mj", BigInteger, nullable=False),
    Column("method", Text, nullable=False),
    Column("sigma_mj", BigInteger, nullable=False),
    Column("phase", Text, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    ForeignKeyConstraint(["run_id", "seq"], ["facts.run_id", "facts.seq"]),
)

INTERVAL_FIELDS = tuple(
    column.name for column in intervals.columns if column.name not in ("run_id", "seq")
)
"""The columns of ``intervals`` that are the fact's own fields."""

sums = Table(
    "sums",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("segment", BigInteger, primary_key=True),
    Column("factor", BigInteger, primary_key=True),
    Column("machine", BigInteger, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("component", Text, primary_key=True),
    Column("phase", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("first_seq", BigInteger, nullable=False),
    Column("intervals", BigInteger, nullable=False),
    Column("energy_mj", BigInteger, nullable=False),
    Column("variance_mj2", Double, nullable=False),
    Column("duration_ns", BigInteger, nullable=False),
)
"""Intervals added up: ``segment``, ``factor`` and ``machine`` are the numbers of the records in
force (0: none yet), ``day`` the UTC day in which they began, counted from 1970-01-01."""

SUM_KEYS = tuple(column.name for column in sums.primary_key.columns)
SUM_VALUES = ("intervals", "energy_mj", "variance_mj2", "duration_ns")

version_metadata = MetaData()
alembic_version = Table(
    "alembic_version", version_metadata, Column("version_num", String(32), primary_key=True)
)
"""Where alembic keeps the revision; written here for new ledgers, so that these need no alembic."""
