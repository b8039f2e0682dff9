"""Reads a ledger: heads, facts, intervals and sums of its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from carbon_trainer.errors import InputError, LedgerError
from carbon_trainer.ledger import schema
from carbon_trainer.ledger.chain import ChainHead, canonical_json
from carbon_trainer.ledger.columns import interval_columns, sum_columns
from carbon_trainer.ledger.facts import (
    FACT_KINDS,
    Decision,
    Fact,
    IntensityUsed,
    Interval,
    JsonDict,
)
from carbon_trainer.ledger.sums import Sums, stored_sums

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class StoredFact:
    """A fact as the ledger keeps it."""

    seq: int
    time_ns: int
    kind: str
    body: dict[str, Any]
    sha256: str

    def fact(self) -> Fact:
        """Return the typed fact.

        Raises:
            LedgerError: if this version of carbon-trainer does not know it.
        """
        try:
            return FACT_KINDS[self.kind](**self.body)
        except (KeyError, TypeError) as error:
            raise LedgerError(
                f"record {self.seq} ({self.kind}) is not one that this version can read: {error}."
            ) from error


class LedgerReader:
    """What can be asked of a ledger; ``Ledger`` is one that can also be appended to.

    Args:
        engine: the ledger's database.
        name: its place as it may be shown, without a password.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def head(self, run_id: str) -> ChainHead:
        """Return the last record of a run's chain."""
        facts = schema.facts.c
        with self._engine.connect() as connection:
            row = connection.execute(
                sa.select(facts.seq, facts.sha256)
                .where(facts.run_id == run_id)
                .order_by(facts.seq.desc())
                .limit(1)
            ).first()
        return ChainHead(row.seq, row.sha256) if row else ChainHead()

    def sha256_at(self, run_id: str, seq: int) -> str | None:
        """Return the hash of one of a run's records; None where it has no such record."""
        facts = schema.facts.c
        query = sa.select(facts.sha256).where(facts.run_id == run_id, facts.seq == seq)
        with self._engine.connect() as connection:
            sha256 = connection.execute(query).scalar_one_or_none()
        return None if sha256 is None else str(sha256)

    def row_batches(self, run_id: str, after_seq: int, size: int) -> Iterator[list[JsonDict]]:
        """Yield a run's rows as they are stored, ``fact`` and ``interval`` of each, in order."""
        facts, intervals = schema.facts, schema.intervals
        query = (
            sa.select(facts, *(intervals.c[name] for name in schema.INTERVAL_FIELDS))
            .select_from(facts.outerjoin(intervals))
            .where(facts.c.run_id == run_id, facts.c.seq > after_seq)
            .order_by(facts.c.seq)
        )
        names = [column.name for column in facts.columns]
        with self._engine.connect() as connection:
            rows = connection.execution_options(yield_per=size).execute(query)
            for batch in rows.mappings().partitions(size):
                yield [
                    {
                        "fact": {name: row[name] for name in names},
                        "interval": {
                            "run_id": run_id, "seq": row["seq"],
                            **{name: row[name] for name in schema.INTERVAL_FIELDS},
                        },
                    }
                    for row in batch
                ]  # fmt: skip

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, oldest first."""
        facts = schema.facts.c
        query = (
            sa.select(facts.run_id)
            .group_by(facts.run_id)
            .order_by(sa.func.min(facts.time_ns), facts.run_id)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def resolve(self, text: str) -> str:
        """Return the run that ``text`` means: its id, the beginning of one, or ``last``.

        Raises:
            InputError: if there is none, or more than one.
        """
        run_ids = self.run_ids()
        if text == "last" and run_ids:
            return run_ids[-1]
        matches = [run_id for run_id in run_ids if run_id.startswith(text)]
        if text in run_ids:
            return text
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InputError(
                f"{text!r} may mean {len(matches)} runs ({', '.join(matches[:3])} …): give more of "
                "it."
            )
        raise InputError(
            f"there is no run {text!r} in the ledger {self.name}"
            + ("; `carbon-train runs list` shows the ones it has." if run_ids else ", it is empty.")
        )

    def facts(self, run_id: str, *kinds: type[Fact]) -> list[StoredFact]:
        """Return a run's facts in order, all but the intervals, or only those of some kinds."""
        columns = schema.facts.c
        query = (
            sa.select(columns.seq, columns.time_ns, columns.kind, columns.body, columns.sha256)
            .where(columns.run_id == run_id, columns.kind != Interval.kind)
            .order_by(columns.seq)
        )
        if kinds:
            query = query.where(columns.kind.in_([kind.kind for kind in kinds]))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [StoredFact(r.seq, r.time_ns, r.kind, json.loads(r.body), r.sha256) for r in rows]

    def last(self, run_id: str, kind: type[Fact]) -> StoredFact | None:
        """Return a run's last fact of a kind."""
        columns = schema.facts.c
        query = (
            sa.select(columns.seq, columns.time_ns, columns.kind, columns.body, columns.sha256)
            .where(columns.run_id == run_id, columns.kind == kind.kind)
            .order_by(columns.seq.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return StoredFact(row.seq, row.time_ns, row.kind, json.loads(row.body), row.sha256)

    def heads(self) -> dict[str, ChainHead]:
        """Return the last record of each run's chain."""
        facts = schema.facts.c
        last = (
            sa.select(facts.run_id, sa.func.max(facts.seq).label("seq"))
            .group_by(facts.run_id)
            .subquery()
        )
        query = sa.select(facts.run_id, facts.seq, facts.sha256).join(
            last, (facts.run_id == last.c.run_id) & (facts.seq == last.c.seq)
        )
        with self._engine.connect() as connection:
            return {row.run_id: ChainHead(row.seq, row.sha256) for row in connection.execute(query)}

    def decided(self, decision: str) -> dict[str, int]:
        """Return the runs with a decision, and the last record of it in each."""
        facts = schema.facts.c
        query = (
            sa.select(facts.run_id, sa.func.max(facts.seq))
            .where(
                facts.kind == Decision.kind,
                facts.body.contains(f'"decision":{json.dumps(decision)}', autoescape=True),
            )
            .group_by(facts.run_id)
        )
        with self._engine.connect() as connection:
            return {str(run_id): int(seq) for run_id, seq in connection.execute(query)}

    def intervals(
        self, run_id: str, columns: Sequence[str] = schema.INTERVAL_FIELDS
    ) -> pd.DataFrame:
        """Return a run's intervals in order: ``seq`` and the given fields of ``Interval``."""
        return interval_columns(self._engine, run_id, columns)

    def sums(self) -> pd.DataFrame:
        """Return the intervals of all runs, added up by everything that reports distinguish.

        Columns are those of ``schema.sums``.
        """
        return sum_columns(self._engine)

    def stored_sums(self, run_id: str) -> Sums:
        """Return a run's sums as the ledger has them, for a check."""
        with self._engine.connect() as connection:
            return stored_sums(connection, run_id)

    def facts_of_all(self, *kinds: type[Fact]) -> Iterator[tuple[str, StoredFact]]:
        """Yield (run id, fact) of some kinds of all runs, a run's in order."""
        columns = schema.facts.c
        query = (
            sa.select(
                columns.run_id, columns.seq, columns.time_ns, columns.kind, columns.body,
                columns.sha256,
            )
            .where(columns.kind.in_([kind.kind for kind in kinds]))
            .order_by(columns.run_id, columns.seq)
        )  # fmt: skip
        with self._engine.connect() as connection:
            for run_id, seq, time_ns, kind, body, sha256 in connection.execute(query):
                yield run_id, StoredFact(seq, time_ns, kind, json.loads(body), sha256)

    def opened_ns(self, run_id: str) -> int | None:
        """Return when a run's first record was written; None where there is no such run."""
        table = schema.facts
        query = sa.select(sa.func.min(table.c.time_ns)).where(table.c.run_id == run_id)
        with self._engine.connect() as connection:
            time_ns = connection.execute(query).scalar_one()
        return None if time_ns is None else int(time_ns)

    def energy_mj(self, run_id: str) -> int:
        """Return the energy that a run has used so far, millijoules, all devices, before PUE."""
        table = schema.intervals
        query = sa.select(sa.func.coalesce(sa.func.sum(table.c.energy_mj), 0))
        with self._engine.connect() as connection:
            return int(connection.execute(query.where(table.c.run_id == run_id)).scalar_one())

    def energy_by_intensity(self, run_id: str) -> list[tuple[JsonDict, int]]:
        """Return each emission factor that a run has used, and its energy under it (mJ).

        A factor holds from its place in the chain to the next one's; the first holds before
        itself too.
        """
        factors = self.facts(run_id, IntensityUsed)
        table = schema.intervals
        total = sa.func.coalesce(sa.func.sum(table.c.energy_mj), 0)
        energies = []
        with self._engine.connect() as connection:
            for number, fact in enumerate(factors):
                query = sa.select(total).where(table.c.run_id == run_id)
                if number > 0:
                    query = query.where(table.c.seq > fact.seq)
                if number + 1 < len(factors):
                    query = query.where(table.c.seq < factors[number + 1].seq)
                energies.append((fact.body, int(connection.execute(query).scalar_one())))
        return energies

    def energy_by_method_mj(self, run_id: str) -> dict[str, int]:
        """Return the same energy by how it is known: measured, estimated."""
        table = schema.intervals
        query = sa.select(table.c.method, sa.func.sum(table.c.energy_mj)).group_by(table.c.method)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(table.c.run_id == run_id)).all()
        return {str(method): int(energy_mj) for method, energy_mj in rows}

    def device_energy(
        self, run_id: str, device: str, since_ns: int, since_seq: int = 0
    ) -> tuple[int, int]:
        """Return what a device's intervals sum to, and where the last ends.

        Args:
            run_id: the run.
            device: the device.
            since_ns: intervals from this time on.
            since_seq: and after this record: clocks may have been set back since others.

        Returns:
            Millijoules, and nanoseconds since the epoch (0 where there are none).
        """
        table = schema.intervals
        total = sa.func.coalesce(sa.func.sum(table.c.energy_mj), 0)
        query = sa.select(total, sa.func.coalesce(sa.func.max(table.c.end_ns), 0)).where(
            table.c.run_id == run_id, table.c.device == device,
            table.c.start_ns >= since_ns, table.c.seq > since_seq,
        )  # fmt: skip
        with self._engine.connect() as connection:
            energy_mj, end_ns = connection.execute(query).one()
        return int(energy_mj), int(end_ns)

    def raw_records(self, run_id: str) -> Iterator[tuple[int, int, str, str | None, str]]:
        """Yield (seq, time_ns, kind, canonical body or None where it is lost, sha256) in order."""
        facts, intervals = schema.facts, schema.intervals
        query = (
            sa.select(
                facts.c.seq, facts.c.time_ns, facts.c.kind, facts.c.body, facts.c.sha256,
                intervals.c.seq.label("interval_seq"),
                *(intervals.c[name] for name in schema.INTERVAL_FIELDS),
            )
            .select_from(
                facts.outerjoin(
                    intervals,
                    (facts.c.run_id == intervals.c.run_id) & (facts.c.seq == intervals.c.seq),
                )
            )
            .where(facts.c.run_id == run_id)
            .order_by(facts.c.seq)
        )  # fmt: skip
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=10_000).execute(query):
                body = row.body
                if row.kind == Interval.kind and row.interval_seq is not None:
                    fields = row._mapping
                    body = canonical_json({name: fields[name] for name in schema.INTERVAL_FIELDS})
                yield row.seq, row.time_ns, row.kind, body, row.sha256

    def stray_intervals(self, run_id: str) -> list[int]:
        """Return the numbers of interval rows that no record of the chain vouches for."""
        facts, intervals = schema.facts.c, schema.intervals.c
        in_chain = sa.select(facts.seq).where(
            facts.run_id == run_id, facts.kind == Interval.kind, facts.seq == intervals.seq
        )
        query = sa.select(intervals.seq).where(intervals.run_id == run_id, ~in_chain.exists())
        with self._engine.connect() as connection:
            return list(connection.execute(query.order_by(intervals.seq)).scalars())
