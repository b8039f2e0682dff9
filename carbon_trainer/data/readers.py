"""Reads documents from a file of text, JSONL or Parquet; errors name the file and the line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_ROWS = 1024
PIECE_CHARACTERS = 1 << 22
"""Longest document of a plain text file; a longer file is cut at the end of a line, so that a
file of any size is read in little memory."""

ROWS = frozenset({".jsonl", ".ndjson"})
COMPRESSED = frozenset({".jsonl.gz", ".ndjson.gz"})
TABLES = frozenset({".parquet"})
BINARY = TABLES | COMPRESSED
"""Formats that hold text without being text themselves."""

LICENCES = ("licence", "license")
"""Fields and columns that may hold a document's licence, in either spelling."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document and its metadata in its file.

    Attributes:
        text: not empty.
        row: its number in the file, from 1: a line of JSONL, a row of Parquet, a piece of a text.
        id: from the field or column ``id``; None where there is none.
        licence: from the field or column ``licence`` or ``license``; None where there is none.
    """

    text: str
    row: int
    id: str | None = None
    licence: str | None = None


def kind_of(path: Path) -> str:
    """Return a file's suffix in lower case, such as ``.txt`` or ``.jsonl.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    both = "".join(suffixes)
    return both if both in COMPRESSED else path.suffix.lower()


def texts_in(path: Path, text_field: str) -> Iterator[str]:
    """Yield the text of a file's documents in order; as ``documents_in``."""
    return (document.text for document in documents_in(path, text_field))


def documents_in(path: Path, text_field: str) -> Iterator[Document]:
    """Yield a file's documents in order.

    Args:
        path: a file.
        text_field: field or column with the text, for JSONL and Parquet.

    Raises:
        InputError: if it cannot be read as the format of its name.
    """
    kind = kind_of(path)
    if kind in ROWS | COMPRESSED:
        documents = _jsonl(path, text_field, compressed=kind in COMPRESSED)
    elif kind in TABLES:
        documents = _parquet(path, text_field)
    else:
        documents = _text(path)
    try:
        yield from documents
    except gzip.BadGzipFile as error:
        reason = f"{error}".rstrip(".")
        raise InputError(
            f"{path} is not a readable gzip file: {reason}. Compress it again, or name it .jsonl "
            "if it is not compressed."
        ) from error
    except (EOFError, zlib.error) as error:
        reason = f"{error}".rstrip(".")
        raise InputError(
            f"{path} is a damaged gzip file: {reason}. Download it again, or compress it again."
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error


def cannot_read(path: Path | str, error: OSError) -> InputError:
    """Return the error for a file or folder that cannot be read."""
    hint = " Make it readable, or leave it out." if isinstance(error, PermissionError) else ""
    return InputError(f"cannot read {path}: {error.strerror or error}.{hint}")


def not_json(place: str, error: Exception) -> InputError:
    """Return the error for a line that is not JSON, from what ``json.loads`` raised."""
    if isinstance(error, json.JSONDecodeError):
        # Its own text counts lines within the line.
        reason = f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
    elif isinstance(error, UnicodeDecodeError):
        reason = f"it is not UTF-8 (byte {error.start})"
    else:
        reason = f"{error}".rstrip(".")
    return InputError(f"{place} is not JSON: {reason}. Fix the line, or remove it.")


def not_parquet(path: Path, error: Exception) -> InputError:
    """Return the error for a table that cannot be read, from pyarrow's."""
    reason = " ".join(str(error).split()).rstrip(".")
    if "crypt" in reason:
        return InputError(f"{path} is an encrypted Parquet file: write it without encryption.")
    return InputError(
        f"{path} is not a readable Parquet file: {reason}. Download it again, or write it again."
    )


def _text(path: Path) -> Iterator[Document]:
    row = 0
    try:
        # newline="" keeps every byte as it is; utf-8-sig drops a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            while text := file.read(PIECE_CHARACTERS):
                if len(text) == PIECE_CHARACTERS:
                    # To the end of the line, but a line without an end is cut too.
                    text += file.readline(PIECE_CHARACTERS)
                row += 1
                if text.strip():
                    yield Document(text, row)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: convert it, e.g. with iconv.") from error


def _jsonl(path: Path, field: str, *, compressed: bool) -> Iterator[Document]:
    with _opened(path, compressed=compressed) as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise not_json(f"{path}, line {number}", error) from error
            text = row.get(field) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise InputError(_text_missing(f"{path}, line {number}", field, row))
            if not _is_unicode(text):
                raise InputError(
                    f"{path}, line {number}: field {field!r} holds half of a surrogate pair, which "
                    "is not text: remove it."
                )
            if text.strip():
                yield Document(text, number, _name(row.get("id")), _licence(row))


def _opened(path: Path, *, compressed: bool) -> gzip.GzipFile | IO[bytes]:
    if compressed:
        return gzip.open(path, "rb")
    return path.open("rb")


def _name(value: object) -> str | None:
    """Return an id as text; numbers serve as ids too."""
    return str(value) if isinstance(value, str | int) and value != "" else None


def _licence(row: dict[str, Any]) -> str | None:
    values = (row.get(name) for name in LICENCES)
    return next((value for value in values if isinstance(value, str) and value), None)


def _text_missing(place: str, field: str, row: object) -> str:
    if not isinstance(row, dict):
        return (
            f"{place} is not an object with a field {field!r}: write each document as an object on "
            "its own line."
        )
    if field in row:
        return f"{place}: field {field!r} is {_type_name(row[field])}, not text."
    fields = ", ".join(map(repr, row)) or "none"
    hint = did_you_mean(field, [str(key) for key in row])
    return (
        f"{place} has no field {field!r}; its fields are {fields}.{hint} Name it with --text-field."
    )


def _type_name(value: object) -> str:
    names = {type(None): "null", bool: "a boolean", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def _is_unicode(text: str) -> bool:
    """Return whether text can be encoded: JSON can spell half a surrogate pair, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(path: Path, column: str) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_column(path, column, file.schema_arrow)
            names = set(file.schema_arrow.names)
            columns = [column, *(name for name in ("id", *LICENCES) if name in names - {column})]
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    if (text := row[column]) and text.strip():
                        yield Document(text, number, _name(row.get("id")), _licence(row))
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # pyarrow raises OSError for damaged pages too.
        raise not_parquet(path, error) from error


def _check_column(path: Path, column: str, schema: Any) -> None:
    if column not in schema.names:
        hint = did_you_mean(column, schema.names)
        raise InputError(
            f"{path} has no column {column!r}; its columns are "
            f"{', '.join(map(repr, schema.names))}.{hint} Name it with --text-field."
        )
    kind = schema.field(column).type
    if not _holds_text(kind):
        raise InputError(
            f"{path}: column {column!r} is {kind}, not text: name another with --text-field."
        )


def _holds_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
