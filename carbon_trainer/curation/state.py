"""A preparation's progress, on disk: killed at any moment, it resumes from there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from carbon_trainer.curation.disk import connect

FILE = "state.sqlite"

CACHE_KIB = 16 * 1024
"""Memory that SQLite may use for pages, KiB; the rest stays on disk."""

KEPT, SAME, NEAR = 0, 1, 2
"""How a document is related to the kept one that stands for it: itself, same text, near."""

RELATIONS = ("kept", "exact duplicate", "near duplicate")

_TABLES = """
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    n INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, sha256 BLOB NOT NULL,
    evened_sha256 BLOB NOT NULL, relation INTEGER NOT NULL, kept INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS kept (evened_sha256 BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (
    n INTEGER PRIMARY KEY, text TEXT NOT NULL, id TEXT NOT NULL, source TEXT NOT NULL,
    licence TEXT, language TEXT
);
"""


@dataclass
class Position:
    """A preparation's progress and counts. Written with every commit, by its fields' names.

    Attributes:
        made_from: hash of sources, settings and libraries; the same command has the same.
        run_id: the run that meters it.
        source, file, row: the last document that was processed, by index, index and row.
        read: documents read.
        documents: documents kept.
        characters: characters of the kept documents.
        pending_bytes: text that is not written to a shard yet.
        removed: documents left out, by source and reason.
        counts: documents read and kept by source, licences, languages, personal data …
        shards: name, documents, bytes and SHA-256 of each.
        energy_mj: what the run had used, millijoules.
        is_done: whether every document is processed and every file of data written.
    """

    made_from: str
    run_id: str
    source: int = 0
    file: int = 0
    row: int = 0
    read: int = 0
    documents: int = 0
    characters: int = 0
    pending_bytes: int = 0
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)
    energy_mj: int = 0
    is_done: bool = False

    def count(self, counter: str, key: str) -> None:
        """Add one to a key of a counter."""
        counts = self.counts.setdefault(counter, {})
        counts[key] = counts.get(key, 0) + 1

    def leave_out(self, source: str, reason: str) -> None:
        """Count a document that is left out."""
        counts = self.removed.setdefault(source, {})
        counts[reason] = counts.get(reason, 0) + 1

    def all_removed(self) -> dict[str, int]:
        """Return how many documents were left out for each reason."""
        total: Counter[str] = Counter()
        for counts in self.removed.values():
            total.update(counts)
        return dict(sorted(total.items()))


class State:
    """The database of one preparation. Nothing is permanent until ``commit``.

    Args:
        folder: its folder, which is created if it does not exist.

    Raises:
        InputError: if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.connection = connect(folder / FILE)
        self.connection.execute("PRAGMA journal_mode = WAL")
        # A loss of power may undo the last commits, but not damage the database: documents are then
        # processed again, which is cheaper than a sync for each commit.
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # Holds the write lock from here on, so that two processes never work in one folder.
        self.connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.split(";")[:-1]:
            self.connection.execute(statement)

    def position(self) -> Position | None:
        """Return the progress at the last commit; None where nothing has been done."""
        row = self.connection.execute("SELECT value FROM state").fetchone()
        return None if row is None else Position(**json.loads(row[0]))

    def commit(self, position: Position) -> None:
        """Make all that was done until now permanent."""
        value = json.dumps(asdict(position))
        self.connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (value,))
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the database; what was not committed is discarded."""
        self.connection.rollback()
        self.connection.close()

    # Documents

    def original_of(self, normalized_sha256: bytes) -> int | None:
        """Return the number of the kept document with a text; None if there is none."""
        row = self.connection.execute(
            "SELECT n FROM kept WHERE evened_sha256 = ?", (normalized_sha256,)
        ).fetchone()
        return None if row is None else int(row[0])

    def add_document(
        self, n: int, source: str, doc_id: str, hashes: tuple[bytes, bytes], relation: int,
        original: int,
    ) -> None:  # fmt: skip
        """Add a document to the index: a kept one, or a duplicate of the kept ``original``."""
        self.connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (n, source, doc_id, *hashes, relation, original),
        )
        if relation == KEPT:
            self.connection.execute("INSERT INTO kept VALUES (?, ?)", (hashes[1], n))

    def add_pending(self, row: tuple[int, str, str, str, str | None, str | None]) -> None:
        """Add a kept document to be written: n, text, id, source, licence, language."""
        self.connection.execute("INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?)", row)

    def pending(self) -> Iterator[tuple[Any, ...]]:
        """Yield documents to be written, in order: text, id, source, licence, language."""
        return self.connection.execute(
            "SELECT text, id, source, licence, language FROM pending ORDER BY n"
        )

    def clear_pending(self) -> None:
        """Remove the documents to be written, as they are written."""
        self.connection.execute("DELETE FROM pending")

    def index(self) -> Iterator[tuple[Any, ...]]:
        """Yield the index in order: id, source, sha256, evened_sha256, relation, id of the kept."""
        return self.connection.execute(
            "SELECT d.id, d.source, d.sha256, d.evened_sha256, d.relation, k.id FROM documents d "
            "JOIN documents k ON k.n = d.kept ORDER BY d.n"
        )
