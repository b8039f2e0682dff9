"""Near duplicates by MinHash (Broder 1997) and bands (Leskovec et al. 2020, ch. 3), on disk.

Similarity is the Jaccard index J of two texts' sets of five-word shingles. The share of equal
values in their signatures, one value for each of 128 permutations, estimates it with a standard
error of sqrt(J (1 - J) / 128). Only texts that share a whole band of their signatures are compared
at all, which has the probability 1 - (1 - J^r)^b, with r rows in each of b bands.
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
SHINGLE_WORDS = 5
SEED = 1
SCHEME = "affine32"
"""datasketch's permutations over 32 bits: signatures have four bytes a value, not eight. Like the
seed and the number of permutations, it decides which documents are kept."""

MISS_WEIGHT = 0.95
"""Weight of a pair that is wrongly not compared in choosing bands; a pair that is compared in vain,
which only costs the time of a comparison, has the rest."""

BATCH_SHINGLES = 4096
"""Shingles that are hashed at once: each takes half a kilobyte meanwhile, a value a permutation."""

_SHA1_BYTES = 20

Signature = npt.NDArray[np.uint32]

TABLES = """
CREATE TABLE IF NOT EXISTS signatures (n INTEGER PRIMARY KEY, signature BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS bands (band INTEGER, n INTEGER, PRIMARY KEY (band, n)) WITHOUT ROWID;
"""


class NearDuplicates:
    """Finds kept documents that are near duplicates of a text.

    Args:
        connection: the database of kept documents.
        threshold: least Jaccard similarity of a near duplicate.

    Raises:
        InputError: if datasketch is not installed.
    """

    def __init__(self, connection: sqlite3.Connection, threshold: float) -> None:
        with needs_extra("--near-duplicates"):
            import datasketch

        self._minhash = datasketch.MinHash
        self._connection = connection
        self.threshold = threshold
        # Asked for its choice of bands and rows alone: its own index would be in memory.
        lsh = datasketch.MinHashLSH(
            threshold=threshold, num_perm=PERMUTATIONS, weights=(1 - MISS_WEIGHT, MISS_WEIGHT)
        )
        self.bands, self.rows = int(lsh.b), int(lsh.r)
        # Drawing permutations takes longer than most texts' signatures, so all share these.
        template = self._minhash(num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME)
        self._permutations = template.permutations

    @property
    def standard_error(self) -> float:
        """Standard error of a similarity that equals the threshold."""
        return math.sqrt(self.threshold * (1 - self.threshold) / PERMUTATIONS)

    @property
    def chance(self) -> float:
        """Probability that a pair whose similarity equals the threshold is compared."""
        return float(1 - (1 - self.threshold**self.rows) ** self.bands)

    def signature(self, normalized: str) -> Signature:
        """Return the signature of a text from ``texts.normalize``."""
        minhash = self._minhash(
            num_perm=PERMUTATIONS, seed=SEED, permutations=self._permutations, scheme=SCHEME,
            hashfunc=int,
        )  # fmt: skip
        shingles = _shingles(normalized)
        while batch := list(islice(shingles, BATCH_SHINGLES)):
            minhash.update_batch(_hashes(batch))
        return np.asarray(minhash.hashvalues, dtype=np.uint32)

    def find(self, signature: Signature) -> int | None:
        """Return the number of the most similar kept document; None if none is near."""
        placeholders = ",".join("?" * self.bands)
        rows = self._connection.execute(
            "SELECT n, signature FROM signatures WHERE n IN "  # noqa: S608 - only question marks
            f"(SELECT DISTINCT n FROM bands WHERE band IN ({placeholders})) ORDER BY n",
            self._keys(signature),
        )
        best, nearest = self.threshold, None
        # In the order of documents, and only for a greater similarity: of equal ones the first is
        # the original, whatever order the database would return them in.
        for n, stored in rows:
            similarity = float(np.mean(np.frombuffer(stored, dtype="<u4") == signature))
            if similarity >= best and (nearest is None or similarity > best):
                best, nearest = similarity, int(n)
        return nearest

    def add(self, n: int, signature: Signature) -> None:
        """Add a kept document."""
        stored = signature.astype("<u4").tobytes()
        self._connection.execute("INSERT INTO signatures VALUES (?, ?)", (n, stored))
        self._connection.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?)",
            [(key, n) for key in self._keys(signature)],
        )

    def _keys(self, signature: Signature) -> list[int]:
        """Return a 64-bit key for each band.

        The band's number is the hash's salt, so that one table holds all bands.
        """
        values = signature.astype("<u4")
        bands = (values[i * self.rows : (i + 1) * self.rows] for i in range(self.bands))
        return [
            int.from_bytes(
                hashlib.blake2b(band.tobytes(), digest_size=8, salt=bytes([i])).digest(),
                "little",
                signed=True,
            )
            for i, band in enumerate(bands)
        ]


def _hashes(shingles: list[bytes]) -> list[int]:
    """Return the first four bytes of each shingle's SHA-1, as datasketch's own function does.

    Its function unpacks them one by one in Python; NumPy takes them from all digests at once.
    """
    digests = b"".join([hashlib.sha1(text, usedforsecurity=False).digest() for text in shingles])
    hashes: list[int] = np.frombuffer(digests, dtype="<u4")[:: _SHA1_BYTES // 4].tolist()
    return hashes


def _shingles(normalized: str) -> Iterator[bytes]:
    """Yield a text's sequences of five words, each once; a shorter text as a whole."""
    words = normalized.casefold().encode().split(b" ")
    if len(words) < SHINGLE_WORDS:
        return iter([b" ".join(words)])
    # The minimum does not depend on order, but a dict's is the same each time, unlike a set's,
    # which helps in a debugger.
    shifted = (words[i:] for i in range(SHINGLE_WORDS))
    return iter(dict.fromkeys(map(b" ".join, zip(*shifted, strict=False))))
