"""Rows of JSONL and Parquet as slots; what is broken is named with its file and line."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from carbon_trainer.data.readers import PARQUET_ROWS, ROWS, cannot_read, not_json, not_parquet
from carbon_trainer.data.slots import SLOTS, Row, options_text
from carbon_trainer.errors import InputError, did_you_mean

MOST_OPTIONS = len(string.ascii_uppercase)


def rows_in(path: Path, fields: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
    """Yield where each row of a file stands, for people, and its slots.

    Args:
        path: a JSONL or Parquet file.
        fields: fields or columns by slot letter. A field that is not there, null or blank is no
            slot; all others must be text, and ``mcoptions`` may be a list of texts.

    Raises:
        InputError: if a row cannot be read, has no slot, or has one that is no text.
    """
    is_lines = path.suffix.lower() in ROWS
    try:
        for where, values in _lines(path) if is_lines else _table(path, set(fields.values())):
            yield where, _row(where, values, fields)
    except OSError as error:
        raise cannot_read(path, error) from error


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            where = f"{path}, line {number}"
            try:
                values = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise not_json(where, error) from error
            if not isinstance(values, dict):
                raise InputError(f"{where} is not an object with fields such as 'question'.")
            yield where, values


def _table(path: Path, wanted: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = [name for name in names if name in wanted]
            if not columns:
                raise InputError(_no_slot(str(path), names, wanted, "columns"))
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns):
                for values in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", values
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # Damaged pages come as OSError too.
        raise not_parquet(path, error) from error


def _row(where: str, values: Mapping[str, Any], fields: Mapping[str, str]) -> Row:
    texts = {
        letter: _text(f"{where}: field {field!r}", letter, values[field])
        for letter, field in fields.items()
        if values.get(field) is not None
    }
    row = {letter: text for letter, text in texts.items() if text}
    if not row:
        raise InputError(_no_slot(where, values, set(fields.values()), "fields"))
    return row


def _text(where: str, letter: str, value: object) -> str:
    if letter == "M" and isinstance(value, list):
        value = _options(where, value)
    if not isinstance(value, str):
        also = " or a list of texts" if letter == "M" else ""
        raise InputError(f"{where} is no text{also}, as the slot {SLOTS[letter]} is.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{where} holds half of a surrogate pair, which is no text: remove it."
        ) from None
    return value.strip()


def _options(where: str, value: list[object]) -> str:
    options = [option for option in value if isinstance(option, str)]
    if len(options) < len(value):
        raise InputError(f"{where} has an option that is no text.")
    if len(options) > MOST_OPTIONS:
        raise InputError(f"{where} has {len(options)} options; letters serve {MOST_OPTIONS}.")
    return options_text(options)


def _no_slot(where: str, there: Any, wanted: set[str], kind: str) -> str:
    names = [str(name) for name in there]
    hints = (did_you_mean(field, names) for field in sorted(wanted))
    return (
        f"{where} has none of the {kind} {', '.join(map(repr, sorted(wanted)))} with a text; its "
        f"{kind} are {', '.join(map(repr, names)) or 'none'}.{next(filter(None, hints), '')} Name "
        "them with --slots, such as question=FIELD."
    )
