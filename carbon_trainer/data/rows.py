"""Reads rows of JSONL and Parquet as slots; errors name the file and the line."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from carbon_trainer.data.readers import PARQUET_ROWS, ROWS, cannot_read, not_json, not_parquet
from carbon_trainer.data.slots import SLOTS, Row, options_text
from carbon_trainer.errors import InputError, did_you_mean

MAX_OPTIONS = len(string.ascii_uppercase)


def rows_in(path: Path, fields: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
    """Yield each row's place in a file, for messages, and its slots.

    Args:
        path: a JSONL or Parquet file.
        fields: fields or columns by slot letter. A field that is missing, null or blank is not a
            slot; all others must be text, and ``mcoptions`` may be a list of texts.

    Raises:
        InputError: if a row cannot be read, has no slot, or has one that is not text.
    """
    is_lines = path.suffix.lower() in ROWS
    try:
        for place, values in _lines(path) if is_lines else _table(path, set(fields.values())):
            yield place, _row(place, values, fields)
    except OSError as error:
        raise cannot_read(path, error) from error


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            place = f"{path}, line {number}"
            try:
                values = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise not_json(place, error) from error
            if not isinstance(values, dict):
                raise InputError(f"{place} is not an object with fields such as 'question'.")
            yield place, values


def _table(path: Path, fields: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = [name for name in names if name in fields]
            if not columns:
                raise InputError(_no_slot(str(path), names, fields, "columns"))
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns):
                for values in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", values
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # pyarrow raises OSError for damaged pages too.
        raise not_parquet(path, error) from error


def _row(place: str, values: Mapping[str, Any], fields: Mapping[str, str]) -> Row:
    texts = {
        letter: _text(f"{place}: field {field!r}", letter, values[field])
        for letter, field in fields.items()
        if values.get(field) is not None
    }
    row = {letter: text for letter, text in texts.items() if text}
    if not row:
        raise InputError(_no_slot(place, values, set(fields.values()), "fields"))
    return row


def _text(place: str, letter: str, value: object) -> str:
    if letter == "M" and isinstance(value, list):
        value = _options(place, value)
    if not isinstance(value, str):
        also = " or a list of texts" if letter == "M" else ""
        raise InputError(f"{place} is not text{also}, as the slot {SLOTS[letter]} is.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{place} holds half of a surrogate pair, which is not text: remove it."
        ) from None
    return value.strip()


def _options(place: str, value: list[object]) -> str:
    options = [option for option in value if isinstance(option, str)]
    if len(options) < len(value):
        raise InputError(f"{place} has an option that is not text.")
    if len(options) > MAX_OPTIONS:
        raise InputError(f"{place} has {len(options)} options; the most is {MAX_OPTIONS}.")
    return options_text(options)


def _no_slot(place: str, present: Any, fields: set[str], kind: str) -> str:
    names = [str(name) for name in present]
    hints = (did_you_mean(field, names) for field in sorted(fields))
    return (
        f"{place} has none of the {kind} {', '.join(map(repr, sorted(fields)))} with a text; its "
        f"{kind} are {', '.join(map(repr, names)) or 'none'}.{next(filter(None, hints), '')} Name "
        "them with --slots, such as question=FIELD."
    )
