"""Near duplicates by MinHash (Broder 1997) and bands (Leskovec et al. 2020, ch. 3), on disk.

Similarity is the Jaccard index of two texts' sets of five-word runs. It is estimated from 128
permutations, with a standard error of sqrt(J (1 - J) / 128); that two texts are compared at all
has a chance of 1 - (1 - J^r)^b, with r rows in each of b bands.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from carbon_trainer.curation.extras import needs_extra

PERMUTATIONS = 128
RUN_WORDS = 5
SEED = 1
SCHEME = "affine32"

MISSES_WEIGH = 0.95
"""How much a pair that is not compared weighs in choosing bands, against one that is compared in
vain: that only costs the time of a comparison."""

BATCH = 4096
"""Runs that are hashed at once: each takes half a kilobyte for that."""

_SHA1_BYTES = 20

Signature = npt.NDArray[np.uint32]

TABLES = """
CREATE TABLE IF NOT EXISTS signatures (n INTEGER PRIMARY KEY, signature BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS bands (band INTEGER, n INTEGER, PRIMARY KEY (band, n)) WITHOUT ROWID;
"""


class NearDuplicates:
    """Finds kept documents that a text is nearly the same as.

    Args:
        connection: the database that remembers kept documents.
        threshold: Jaccard similarity from which on a text is a near duplicate.

    Raises:
        InputError: if datasketch is not installed.
    """

    def __init__(self, connection: sqlite3.Connection, threshold: float) -> None:
        with needs_extra("--near-duplicates"):
            import datasketch

        self._new = datasketch.MinHash
        self._connection = connection
        self.threshold = threshold
        lsh = datasketch.MinHashLSH(
            threshold=threshold, num_perm=PERMUTATIONS, weights=(1 - MISSES_WEIGH, MISSES_WEIGH)
        )
        self.bands, self.rows = int(lsh.b), int(lsh.r)
        first = self._new(num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME)
        self._permutations = first.permutations

    @property
    def standard_error(self) -> float:
        """Standard error of a similarity that is just the threshold."""
        return math.sqrt(self.threshold * (1 - self.threshold) / PERMUTATIONS)

    @property
    def chance(self) -> float:
        """The chance that a pair whose similarity is just the threshold is compared."""
        return float(1 - (1 - self.threshold**self.rows) ** self.bands)

    def signature(self, evened: str) -> Signature:
        """Return the signature of a text whose white space is even."""
        minhash = self._new(
            num_perm=PERMUTATIONS, seed=SEED, permutations=self._permutations, scheme=SCHEME,
            hashfunc=int,
        )  # fmt: skip
        runs = _runs(evened)
        while batch := list(islice(runs, BATCH)):
            minhash.update_batch(_hashes(batch))
        return np.asarray(minhash.hashvalues, dtype=np.uint32)

    def find(self, signature: Signature) -> int | None:
        """Return the number of the kept document that is most like a text; None if none is."""
        marks = ",".join("?" * self.bands)
        rows = self._connection.execute(
            "SELECT n, signature FROM signatures WHERE n IN "  # noqa: S608 - only question marks
            f"(SELECT DISTINCT n FROM bands WHERE band IN ({marks})) ORDER BY n",
            self._keys(signature),
        )
        best, nearest = self.threshold, None
        for n, stored in rows:
            share = float(np.mean(np.frombuffer(stored, dtype="<u4") == signature))
            if share >= best and (nearest is None or share > best):
                best, nearest = share, int(n)
        return nearest

    def add(self, n: int, signature: Signature) -> None:
        """Remember a document that is kept."""
        stored = signature.astype("<u4").tobytes()
        self._connection.execute("INSERT INTO signatures VALUES (?, ?)", (n, stored))
        self._connection.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?)",
            [(key, n) for key in self._keys(signature)],
        )

    def _keys(self, signature: Signature) -> list[int]:
        """Return a 64-bit key for each band."""
        little = signature.astype("<u4")
        cut = (little[i * self.rows : (i + 1) * self.rows] for i in range(self.bands))
        return [
            int.from_bytes(
                hashlib.blake2b(part.tobytes(), digest_size=8, salt=bytes([i])).digest(),
                "little",
                signed=True,
            )
            for i, part in enumerate(cut)
        ]


def _hashes(runs: list[bytes]) -> list[int]:
    """Return the first four bytes of each run's SHA-1, as datasketch's own hash function does."""
    digests = b"".join([hashlib.sha1(run, usedforsecurity=False).digest() for run in runs])
    hashes: list[int] = np.frombuffer(digests, dtype="<u4")[:: _SHA1_BYTES // 4].tolist()
    return hashes


def _runs(evened: str) -> Iterator[bytes]:
    """Yield the runs of five words of a text, each once; the whole of a shorter one."""
    words = evened.casefold().encode().split(b" ")
    if len(words) < RUN_WORDS:
        return iter([b" ".join(words)])
    # A dict keeps order, a set does not: not that the minimum minds, but a debugger does.
    shifted = (words[i:] for i in range(RUN_WORDS))
    return iter(dict.fromkeys(map(b" ".join, zip(*shifted, strict=False))))
