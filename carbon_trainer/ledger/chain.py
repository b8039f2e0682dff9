"""The hash chain: each record's SHA-256 covers its content and the hash of the one before.

Changing, removing, inserting or moving a record therefore breaks every hash after it. Cutting
off the end does not; that is caught by comparing with a head written down elsewhere, as every
report and checkpoint does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last record of a run's chain: its number (from 1; 0 for none yet) and its hash."""

    seq: int = 0
    sha256: str = GENESIS


def canonical_json(value: Any) -> str:
    """Write ``value`` as the one JSON text that it has everywhere: sorted, tight, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def link(previous: ChainHead, run_id: str, time_ns: int, kind: str, body: str) -> ChainHead:
    """Return the chain's head after one more record.

    Args:
        previous: the head so far.
        run_id: the run that the record belongs to, so that it cannot be moved to another.
        time_ns: when it was appended, nanoseconds since the epoch (UTC).
        kind: the fact's kind.
        body: the fact's fields as canonical JSON.
    """
    seq = previous.seq + 1
    # None of the fields holds a line end (JSON escapes it), so that no two different records have
    # the same text.
    text = "\n".join((previous.sha256, run_id, str(seq), str(time_ns), kind, body))
    return ChainHead(seq, hashlib.sha256(text.encode()).hexdigest())
