"""Put records back that a full or locked disk had kept out of the ledger."""

from __future__ import annotations

import json
from pathlib import Path

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import FACT_KINDS, Fact
from carbon_trainer.ledger.store import Ledger

_PREFIX = "unwritten-"


def recover(ledger: Ledger, path: Path) -> tuple[str, int]:
    """Append the records of a spill file to their run, then rename the file.

    Args:
        ledger: where to.
        path: a file that ``LedgerWriter`` left: ``unwritten-RUN.jsonl``.

    Returns:
        The run's id and the number of records.

    Raises:
        InputError: if the file is not such a file.
    """
    if not path.name.startswith(_PREFIX) or not path.is_file():
        raise InputError(f"{path} is not a file of unwritten records ({_PREFIX}RUN.jsonl).")
    run_id = path.stem.removeprefix(_PREFIX)
    lines = _lines(path)
    stamped = [_record(path, number, line) for number, line in enumerate(lines, start=1)]
    ledger.append(run_id, stamped, ledger.head(run_id))
    path.rename(path.with_suffix(".recovered"))
    return run_id, len(stamped)


def _lines(path: Path) -> list[str]:
    """Return the whole lines; a last one without its end was being written in a crash."""
    text = path.read_text(encoding="utf-8")
    complete = text if text.endswith("\n") else text[: text.rfind("\n") + 1]
    return [line for line in complete.splitlines() if line.strip()]


def _record(path: Path, number: int, line: str) -> tuple[int, Fact]:
    try:
        row = json.loads(line)
        return int(row["time_ns"]), FACT_KINDS[row["kind"]](**row["body"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}, line {number} is not a record: {error}.") from error
