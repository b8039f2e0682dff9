"""Writes a run's facts from a thread of its own, so that training never waits for a disk."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections import deque
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from carbon_trainer.clock import Clock, SystemClock
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import Fact
from carbon_trainer.ledger.store import Ledger

log = logging.getLogger(__name__)

BATCH = 5_000
MAX_BACK_OFF_S = 30.0


class LedgerWriter:
    """Takes facts at once and appends them in batches; a failing disk is retried, never raised.

    Args:
        ledger: where to.
        run_id: the run that the facts are of.
        clock: gives the time of each fact.
        spare_dir: where facts go at the end if the ledger still refuses them.
        flush_s: how often to write, seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        *,
        clock: Clock | None = None,
        spare_dir: Path | None = None,
        flush_s: float = 1.0,
    ) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._clock = clock or SystemClock()
        self._spare_dir = spare_dir
        self._flush_s = flush_s
        self._pending: deque[tuple[int, Fact]] = deque()
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._has_warned = False
        self.head: ChainHead = ledger.head(run_id)
        self.error: str | None = None
        self.lost = False
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def put(self, *facts: Fact) -> None:
        """Take facts to be written soon; costs the caller microseconds and never fails."""
        now_ns = self._clock.now_ns()
        for fact in facts:
            self._pending.append((now_ns, fact))

    def flush(self) -> bool:
        """Write now what is pending, in the caller's thread; return whether all of it was."""
        with self._writing:
            while self._pending:
                if not self._write_batch():
                    return False
        return True

    def close(self) -> Path | None:
        """Write the rest and end the thread.

        Returns:
            The file that the rest went to where the ledger refused it, else None.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=MAX_BACK_OFF_S)
        if self.flush():
            return None
        return self._spill()

    def _work(self) -> None:
        back_off_s = self._flush_s
        while not self._closing.is_set():
            self._wake.wait(back_off_s)
            written = self.flush()
            back_off_s = self._flush_s if written else min(2 * back_off_s, MAX_BACK_OFF_S)

    def _write_batch(self) -> bool:
        batch = [self._pending[i] for i in range(min(BATCH, len(self._pending)))]
        try:
            self.head = self._ledger.append(self._run_id, batch, self.head)
        except (SQLAlchemyError, OSError) as error:
            self._warn(error)
            return False
        # Removed only now: what a refused transaction held is tried again.
        for _ in batch:
            self._pending.popleft()
        if self._has_warned:
            log.warning("the ledger %s can be written again; nothing is lost.", self._ledger.name)
            self._has_warned, self.error = False, None
        return True

    def _warn(self, error: Exception) -> None:
        self.error = str(getattr(error, "orig", None) or error)
        if not self._has_warned:
            log.warning(
                "the ledger %s cannot be written now (%s); records are kept and written later.",
                self._ledger.name,
                self.error,
            )
            self._has_warned = True

    def _spill(self) -> Path | None:
        for folder in (self._spare_dir, Path(tempfile.gettempdir())):
            if folder is None:
                continue
            path = folder / f"unwritten-{self._run_id}.jsonl"
            # A file that is there holds records of an earlier attempt, which stay.
            before = path.stat().st_size if path.exists() else 0
            try:
                with path.open("a", encoding="utf-8") as file:
                    for time_ns, fact in self._pending:
                        row = {"time_ns": time_ns, "kind": fact.kind, "body": fact.body()}
                        file.write(json.dumps(row) + "\n")
            except OSError as error:
                log.warning("cannot keep unwritten records in %s: %s", folder, error)
                _cut(path, before)
                continue
            log.error(
                "the ledger %s refused %d records (%s); they are kept in %s: put them back with "
                "`carbon-train runs recover %s`.",
                self._ledger.name, len(self._pending), self.error, path, path,
            )  # fmt: skip
            self._pending.clear()
            return path
        log.error("the last %d records of run %s are lost.", len(self._pending), self._run_id)
        self.lost = True
        return None


def _cut(path: Path, size: int) -> None:
    """Leave nothing half-written: the same records go elsewhere."""
    try:
        if size:
            os.truncate(path, size)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s has records that are elsewhere too: %s", path, error)
