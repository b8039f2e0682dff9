"""The ledger itself: open it, append to it, read it. Nothing in it is ever changed."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from carbon_trainer.errors import InputError, LedgerError
from carbon_trainer.ledger import schema
from carbon_trainer.ledger.chain import ChainHead, canonical_json, link
from carbon_trainer.ledger.facts import FACT_KINDS, Fact, IntensityUsed, Interval, JsonDict

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LOCK_WAIT_S = 5.0


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


class Ledger:
    """Facts of many runs in one database. Make one with ``Ledger.open``."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    @classmethod
    def open(cls, location: str | Path, *, create: bool = True) -> Ledger:
        """Open a ledger.

        Args:
            location: a path of a SQLite file, or an SQLAlchemy URL.
            create: make it when it does not exist yet.

        Raises:
            LedgerError: if it is missing, unreadable, no ledger, or from a newer version.
        """
        name = _without_password(location)
        ledger = cls(_engine(location, create=create), name)
        try:
            ledger._check_or_create(create=create)
        except DBAPIError as error:
            ledger.close()
            raise LedgerError(f"cannot use the ledger {name}: {_plain(error)}.") from error
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
        with self._engine.connect() as connection:
            version = connection.execute(
                sa.select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
            ).scalar_one()
        if int(version) > schema.SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger {self.name} was written by a newer carbon-trainer (its schema is "
                f"{version}, this one knows up to {schema.SCHEMA_VERSION}): upgrade "
                "carbon-trainer, or give another --ledger."
            )

    def _create_or_find(self) -> None:
        """Make the tables; where another process was quicker, take its."""
        try:
            self._create()
        except DBAPIError:
            with self._engine.connect() as connection:
                if schema.meta.name not in sa.inspect(connection).get_table_names():
                    raise
            # The other one commits the tables and their version together.

    def _create(self) -> None:
        with self._engine.begin() as connection:
            schema.metadata.create_all(connection)
            known = connection.execute(sa.select(sa.func.count()).select_from(schema.meta))
            if known.scalar_one() == 0:
                connection.execute(
                    schema.meta.insert(),
                    {"key": "schema_version", "value": str(schema.SCHEMA_VERSION)},
                )

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
        for time_ns, fact in stamped:
            body = canonical_json(fact.body())
            head = link(head, run_id, time_ns, fact.kind, body)
            typed = isinstance(fact, Interval)
            fact_rows.append(
                {
                    "run_id": run_id,
                    "seq": head.seq,
                    "time_ns": time_ns,
                    "kind": fact.kind,
                    "body": None if typed else body,
                    "sha256": head.sha256,
                }
            )
            if typed:
                interval_rows.append({"run_id": run_id, "seq": head.seq, **fact.body()})
        with self._engine.begin() as connection:
            if fact_rows:
                connection.execute(schema.facts.insert(), fact_rows)
            if interval_rows:
                connection.execute(schema.intervals.insert(), interval_rows)
        return head

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
        known = self.run_ids()
        if text == "last" and known:
            return known[-1]
        found = [run_id for run_id in known if run_id.startswith(text)]
        if text in known:
            return text
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{text!r} may mean {len(found)} runs ({', '.join(found[:3])} …): give more of it."
            )
        raise InputError(
            f"there is no run {text!r} in the ledger {self.name}"
            + ("; `carbon-train runs list` shows the ones it has." if known else ", it is empty.")
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

    def intervals(self, run_id: str) -> pd.DataFrame:
        """Return a run's intervals in order, a row each, columns as ``Interval``'s fields."""
        import pandas as pd

        table = schema.intervals
        query = (
            sa.select(table.c.seq, *(table.c[name] for name in schema.INTERVAL_FIELDS))
            .where(table.c.run_id == run_id)
            .order_by(table.c.seq)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return pd.DataFrame.from_records(rows, columns=["seq", *schema.INTERVAL_FIELDS])

    def opened_ns(self, run_id: str) -> int | None:
        """Return when a run's first record was written; None where there is no such run."""
        table = schema.facts
        query = sa.select(sa.func.min(table.c.time_ns)).where(table.c.run_id == run_id)
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar_one()
        return None if found is None else int(found)

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
        found = []
        with self._engine.connect() as connection:
            for number, stored in enumerate(factors):
                query = sa.select(total).where(table.c.run_id == run_id)
                if number > 0:
                    query = query.where(table.c.seq > stored.seq)
                if number + 1 < len(factors):
                    query = query.where(table.c.seq < factors[number + 1].seq)
                found.append((stored.body, int(connection.execute(query).scalar_one())))
        return found

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
            since_ns: intervals from an instant on.
            since_seq: and behind this record: clocks may have been set back since others.

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
        vouched = sa.select(facts.seq).where(
            facts.run_id == run_id, facts.kind == Interval.kind, facts.seq == intervals.seq
        )
        query = sa.select(intervals.seq).where(intervals.run_id == run_id, ~vouched.exists())
        with self._engine.connect() as connection:
            return list(connection.execute(query.order_by(intervals.seq)).scalars())


def location_of(ledger: str | None, runs_dir: Path) -> str:
    """Return where the ledger is: as given, else ``CARBON_TRAINER_LEDGER``, else in the folder."""
    return ledger or os.environ.get("CARBON_TRAINER_LEDGER") or str(runs_dir / "ledger.sqlite")


def _engine(location: str | Path, *, create: bool) -> sa.Engine:
    text = str(location)
    if "://" not in text:
        return _sqlite_engine(Path(text), create=create)
    try:
        url = make_url(text)
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(Path(url.database or ""), create=create)
        return sa.create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise LedgerError(
            f"cannot use the ledger {_without_password(text)}: {error}. Give a file's path, or a "
            "URL like postgresql+psycopg://user@host/database (needs carbon-trainer[postgresql])."
        ) from error


def _sqlite_engine(path: Path, *, create: bool) -> sa.Engine:
    if path.is_dir():
        raise LedgerError(f"the ledger {path} is a folder: name a file in it.")
    if not path.exists() and not create:
        raise LedgerError(
            f"there is no ledger at {path}: train first with `carbon-train fit`, or say where it "
            "is with --ledger."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"cannot make the ledger's folder {path.parent}: {error.strerror or error}."
        ) from error
    if not path.exists():
        _make_sqlite(path)
    return _connected(path)


def _make_sqlite(path: Path) -> None:
    """Make a ledger beside its place and put it there whole: others may be making it as well.

    Raises:
        LedgerError: if the folder cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ledger-") as folder:
            made = Path(folder, "ledger.sqlite")
            ledger = Ledger(_connected(made), str(path))
            ledger._create()
            ledger.close()
            _put_in_place(made, path)
    except (OSError, DBAPIError) as error:
        why = _plain(error) if isinstance(error, DBAPIError) else error.strerror or error
        raise LedgerError(f"cannot make the ledger {path}: {why}.") from error


def _put_in_place(made: Path, path: Path) -> None:
    """Give a file its name unless there is one of that name already."""
    try:
        os.link(made, path)
    except FileExistsError:
        log.debug("somebody else has made %s", path)
    except OSError:
        # A file system without hard links; two first runs at the same moment are then at risk.
        made.rename(path)


def _connected(path: Path) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": LOCK_WAIT_S})
    sa.event.listen(engine, "connect", _set_pragmas)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    """Readers and the writer never block one another (WAL); a commit is on the disk (FULL)."""
    # Python's sqlite3 would end a transaction before each CREATE TABLE; ours begin themselves.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # A file that cannot be written works in the mode that it has, which stays with it.
        log.debug("journal mode not set: %s", error)


def _plain(error: DBAPIError) -> str:
    return str(error.orig or error).strip().rstrip(".")


def _without_password(location: str | Path) -> str:
    text = str(location)
    if "://" not in text:
        return text
    try:
        return make_url(text).render_as_string(hide_password=True)
    except ArgumentError:
        return text
