"""Read documents from one file of text, JSONL or Parquet; errors name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from carbon_trainer.errors import InputError, did_you_mean

PARQUET_ROWS = 1024
PROBE_BYTES = 8192


def documents_in(path: Path, text_field: str) -> Iterator[str]:
    """Yield a file's documents in order.

    Args:
        path: a file.
        text_field: field or column with the text, for JSONL and Parquet.

    Raises:
        InputError: if it cannot be read as what its name says it is.
    """
    if path.suffix == ".jsonl":
        yield from _jsonl(path, text_field)
    elif path.suffix == ".parquet":
        yield from _parquet(path, text_field)
    else:
        yield from _text(path)


def is_binary(path: Path) -> bool:
    """Tell whether a file's beginning holds a zero byte, as text never does."""
    with path.open("rb") as file:
        return b"\0" in file.read(PROBE_BYTES)


def _text(path: Path) -> Iterator[str]:
    if is_binary(path):
        raise InputError(f"{path} is not text: it holds zero bytes.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}): convert it, e.g. with iconv."
        ) from error
    if text.strip():
        yield text


def _jsonl(path: Path, field: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
            except (ValueError, UnicodeDecodeError) as error:
                raise InputError(f"{path}, line {number} is not JSON: {error}.") from error
            text = row.get(field) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise InputError(_no_field(path, number, field, row))
            if text.strip():
                yield text


def _no_field(path: Path, number: int, field: str, row: object) -> str:
    where = f"{path}, line {number}"
    if not isinstance(row, dict):
        return f"{where} is not an object with a field {field!r}."
    if field in row:
        return f"{where}: field {field!r} is not text."
    there = ", ".join(map(repr, row)) or "none"
    hint = did_you_mean(field, [str(key) for key in row])
    return (
        f"{where} has no field {field!r}; its fields are {there}.{hint} Name it with --text-field."
    )


def _parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                hint = did_you_mean(column, names)
                raise InputError(
                    f"{path} has no column {column!r}; its columns are "
                    f"{', '.join(map(repr, names))}.{hint} Name it with --text-field."
                )
            kind = file.schema_arrow.field(column).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise InputError(f"{path}: column {column!r} is {kind}, not text.")
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=[column]):
                for text in batch.column(0).to_pylist():
                    if text and text.strip():
                        yield text
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file that can be read: {error}.") from error
