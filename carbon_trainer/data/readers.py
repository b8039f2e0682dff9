"""Read documents from one file of text, JSONL or Parquet; errors name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_ROWS = 1024
PIECE_CHARACTERS = 1 << 22
"""Longest document of a plain text file; a longer file is cut at the end of a line, so that a
file of any size is read in little memory."""

ROWS = frozenset({".jsonl", ".ndjson"})
TABLES = frozenset({".parquet"})


def documents_in(path: Path, text_field: str) -> Iterator[str]:
    """Yield a file's documents in order.

    Args:
        path: a file.
        text_field: field or column with the text, for JSONL and Parquet.

    Raises:
        InputError: if it cannot be read as what its name says it is.
    """
    kind = path.suffix.lower()
    if kind in ROWS:
        documents = _jsonl(path, text_field)
    elif kind in TABLES:
        documents = _parquet(path, text_field)
    else:
        documents = _text(path)
    try:
        yield from documents
    except OSError as error:
        raise cannot_read(path, error) from error


def cannot_read(path: Path | str, error: OSError) -> InputError:
    """Return the error that says that a file or folder cannot be read, and why."""
    return InputError(f"cannot read {path}: {error.strerror or error}.")


def _text(path: Path) -> Iterator[str]:
    try:
        # newline="" keeps every byte as it is; utf-8-sig drops a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            while text := file.read(PIECE_CHARACTERS):
                if len(text) == PIECE_CHARACTERS:
                    text += file.readline(PIECE_CHARACTERS)
                if text.strip():
                    yield text
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: convert it, e.g. with iconv.") from error


def _jsonl(path: Path, field: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is not JSON: {error}.") from error
            text = row.get(field) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise InputError(_no_text(f"{path}, line {number}", field, row))
            if not _is_unicode(text):
                raise InputError(
                    f"{path}, line {number}: field {field!r} holds half of a surrogate pair, which "
                    "is no text: remove it."
                )
            if text.strip():
                yield text


def _no_text(where: str, field: str, row: object) -> str:
    if not isinstance(row, dict):
        return f"{where} is not an object with a field {field!r}."
    if field in row:
        return f"{where}: field {field!r} is {_kind(row[field])}, not text."
    there = ", ".join(map(repr, row)) or "none"
    hint = did_you_mean(field, [str(key) for key in row])
    return (
        f"{where} has no field {field!r}; its fields are {there}.{hint} Name it with --text-field."
    )


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a boolean", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def _is_unicode(text: str) -> bool:
    """Tell whether text can be encoded: JSON can spell half a surrogate pair, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_column(path, column, file.schema_arrow)
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=[column]):
                for text in batch.column(0).to_pylist():
                    if text and text.strip():
                        yield text
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # Damaged pages come as OSError too.
        why = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{path} is not a Parquet file that can be read: {why}.") from error


def _check_column(path: Path, column: str, schema: Any) -> None:
    if column not in schema.names:
        hint = did_you_mean(column, schema.names)
        raise InputError(
            f"{path} has no column {column!r}; its columns are "
            f"{', '.join(map(repr, schema.names))}.{hint} Name it with --text-field."
        )
    kind = schema.field(column).type
    if not _holds_text(kind):
        raise InputError(f"{path}: column {column!r} is {kind}, not text.")


def _holds_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
