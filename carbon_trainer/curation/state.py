"""What a preparation has done so far, on disk: killed at any moment, it goes on from there."""

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
"""Memory that SQLite may use for pages; the rest stays on disk."""

KEPT, SAME, NEAR = 0, 1, 2
"""How a document is in the dataset: itself, as one of the same text, as one nearly the same."""

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
    """How far a preparation is, and what it has counted. Written with every commit.

    Attributes:
        made_from: hash of sources, settings and libraries; the same command has the same.
        run_id: the run that meters it.
        source, file, row: the last document that was dealt with, by index, index and row.
        read: documents read.
        pending_bytes: text that waits to be written.
        removed: documents left out, by ``source`` and reason, as JSON lists.
        counts: documents read and kept by source, licences, languages, personal data …
        shards: name, documents, bytes and SHA-256 of each.
        energy_mj: what the run had used, millijoules.
        is_done: whether every document is dealt with and every file of data written.
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

    def count(self, what: str, key: str, by: int = 1) -> None:
        """Count something."""
        of = self.counts.setdefault(what, {})
        of[key] = of.get(key, 0) + by

    def leave_out(self, source: str, reason: str) -> None:
        """Count a document that is left out."""
        of = self.removed.setdefault(source, {})
        of[reason] = of.get(reason, 0) + 1

    def all_removed(self) -> dict[str, int]:
        """Return how many documents were left out for each reason."""
        total: Counter[str] = Counter()
        for counts in self.removed.values():
            total.update(counts)
        return dict(sorted(total.items()))


class State:
    """The database of one preparation. Nothing counts until ``commit``.

    Args:
        folder: where it lies; made if it is not there.

    Raises:
        InputError: if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.connection = connect(folder / FILE)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self.connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.split(";")[:-1]:
            self.connection.execute(statement)

    def position(self) -> Position | None:
        """Return how far it is; None where nothing has been done."""
        row = self.connection.execute("SELECT value FROM state").fetchone()
        return None if row is None else Position(**json.loads(row[0]))

    def commit(self, position: Position) -> None:
        """Make all that was done until now count."""
        value = json.dumps(asdict(position))
        self.connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (value,))
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Let go of the database; what was not committed is forgotten."""
        self.connection.rollback()
        self.connection.close()

    # Documents

    def kept_with(self, evened_sha256: bytes) -> int | None:
        """Return the number of the kept document of a text; None if none is."""
        row = self.connection.execute(
            "SELECT n FROM kept WHERE evened_sha256 = ?", (evened_sha256,)
        ).fetchone()
        return None if row is None else int(row[0])

    def remember(
        self, n: int, source: str, doc_id: str, hashes: tuple[bytes, bytes], relation: int,
        kept: int,
    ) -> None:  # fmt: skip
        """Put a document into the index: itself kept, or a duplicate of one that is."""
        self.connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (n, source, doc_id, *hashes, relation, kept),
        )
        if relation == KEPT:
            self.connection.execute("INSERT INTO kept VALUES (?, ?)", (hashes[1], n))

    def put(self, row: tuple[int, str, str, str, str | None, str | None]) -> None:
        """Let a kept document wait to be written: n, text, id, source, licence, language."""
        self.connection.execute("INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?)", row)

    def pending(self) -> Iterator[tuple[Any, ...]]:
        """Yield what waits to be written, in order: text, id, source, licence, language."""
        return self.connection.execute(
            "SELECT text, id, source, licence, language FROM pending ORDER BY n"
        )

    def written(self) -> None:
        """Forget what waited to be written."""
        self.connection.execute("DELETE FROM pending")

    def index(self) -> Iterator[tuple[Any, ...]]:
        """Yield the index in order: id, source, sha256, evened_sha256, relation, id of the kept."""
        return self.connection.execute(
            "SELECT d.id, d.source, d.sha256, d.evened_sha256, d.relation, k.id FROM documents d "
            "JOIN documents k ON k.n = d.kept ORDER BY d.n"
        )
