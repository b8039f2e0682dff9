"""The ledger itself: open it and append to it. Nothing in it is ever changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger import migrate, schema
from carbon_trainer.ledger.chain import ChainHead, canonical_json, link
from carbon_trainer.ledger.engine import driver_message, engine_of
from carbon_trainer.ledger.facts import Fact, Interval, JsonDict
from carbon_trainer.ledger.location import without_password
from carbon_trainer.ledger.reader import LedgerReader
from carbon_trainer.ledger.sums import Adder, add_sums, difference, in_force_at


class Ledger(LedgerReader):
    """Facts of many runs in one database. Make one with ``Ledger.open``."""

    @classmethod
    def open(cls, location: str | Path, *, create: bool = True, upgrade: bool = False) -> Ledger:
        """Open a ledger.

        Args:
            location: a path of a SQLite file, or an SQLAlchemy URL.
            create: make it when it does not exist yet.
            upgrade: bring a database of an earlier version to the present schema; files are
                brought to it in any case.

        Raises:
            LedgerError: if it is missing, unreadable, no ledger, or from another version.
        """
        name = without_password(location)
        ledger = cls(engine_of(location, create=create, fill=migrate.create), name)
        try:
            ledger._check_or_create(create=create)
            ledger._check_version(upgrade=upgrade)
        except DBAPIError as error:
            ledger.close()
            raise LedgerError(f"cannot use the ledger {name}: {driver_message(error)}.") from error
        return ledger

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _check_or_create(self, *, create: bool) -> None:
        with self._engine.connect() as connection:
            tables = sa.inspect(connection).get_table_names()
        if schema.meta.name not in tables:
            if tables or not create:
                raise LedgerError(f"{self.name} is not a carbon-trainer ledger.")
            self._create_or_find()

    def _create_or_find(self) -> None:
        """Make the tables; where another process was quicker, take its."""
        try:
            migrate.create(self._engine)
        except DBAPIError:
            with self._engine.connect() as connection:
                if schema.meta.name not in sa.inspect(connection).get_table_names():
                    raise

    def _check_version(self, *, upgrade: bool) -> None:
        version = migrate.version_of(self._engine)
        if version > schema.SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger {self.name} was written by a newer carbon-trainer (its schema is "
                f"{version}, this one knows up to {schema.SCHEMA_VERSION}): upgrade "
                "carbon-trainer, or give another --ledger."
            )
        if version < schema.SCHEMA_VERSION:
            if not upgrade and self._engine.name != "sqlite":
                raise LedgerError(
                    f"the ledger {self.name} has schema {version} of an earlier carbon-trainer: "
                    "have its owner run `carbon-train ledger upgrade --ledger URL` once."
                )
            migrate.upgrade(self._engine)

    def append(
        self, run_id: str, stamped: Sequence[tuple[int, Fact]], after: ChainHead
    ) -> ChainHead:
        """Append facts to a run in one transaction: all of them or none.

        Args:
            run_id: the run.
            stamped: pairs of (time_ns, fact) in order.
            after: the head that they follow.

        Returns:
            The new head.

        Raises:
            DBAPIError: if the database refuses, e.g. it is full, locked, or has another head.
        """
        fact_rows, interval_rows, head = [], [], after
        records: list[tuple[int, str, JsonDict]] = []
        for time_ns, fact in stamped:
            fields = fact.body()
            body = canonical_json(fields)
            head = link(head, run_id, time_ns, fact.kind, body)
            is_interval = isinstance(fact, Interval)
            fact_rows.append(
                {
                    "run_id": run_id,
                    "seq": head.seq,
                    "time_ns": time_ns,
                    "kind": fact.kind,
                    "body": None if is_interval else body,
                    "sha256": head.sha256,
                }
            )
            records.append((head.seq, fact.kind, fields if is_interval else {}))
            if is_interval:
                interval_rows.append({"run_id": run_id, "seq": head.seq, **fields})
        # Two writers that follow the same head both insert its next number: the primary key refuses
        # the second one, and its whole transaction with it, so that a chain never forks.
        with self._engine.begin() as connection:
            if fact_rows:
                connection.execute(schema.facts.insert(), fact_rows)
            if interval_rows:
                connection.execute(schema.intervals.insert(), interval_rows)
                adder = Adder(run_id, in_force_at(connection, run_id, after.seq))
                for record in records:
                    adder.add(*record)
                # In the same transaction: a reader never sees intervals without their sums.
                add_sums(connection, adder.sums)
        return head

    def transaction(self) -> AbstractContextManager[sa.Connection]:
        """Begin a transaction, to append records that have their hashes already."""
        return self._engine.begin()

    def rebuild_sums(self, run_id: str) -> str | None:
        """Rebuild a run's sums from its intervals; return how the old ones differed, if so."""
        adder = Adder(run_id)
        for seq, _, kind, body, _ in self.raw_records(run_id):
            adder.add(seq, kind, json.loads(body or "{}") if kind == Interval.kind else {})
        problem = difference(adder.sums, self.stored_sums(run_id))
        if problem is not None:
            with self._engine.begin() as connection:
                connection.execute(schema.sums.delete().where(schema.sums.c.run_id == run_id))
                add_sums(connection, adder.sums)
        return problem
