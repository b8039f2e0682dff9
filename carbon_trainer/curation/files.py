"""The files of a dataset: shards and index, the same bytes from the same rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.curation.disk import cannot_write
from carbon_trainer.curation.state import RELATIONS

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 512
"""Rows of a row group: what is in memory while a file is written."""

INDEX = "index/documents.parquet"
MANIFEST = "index/inputs.txt"

COLUMNS = ("text", "id", "source", "licence", "language")


def write_shard(path: Path, rows: Iterator[tuple[Any, ...]]) -> dict[str, Any]:
    """Write documents into a file.

    Args:
        path: the file.
        rows: values of ``COLUMNS``.

    Returns:
        What the datasheet says of it: file, documents, bytes, sha256.

    Raises:
        InputError: if it cannot be written.
    """
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    documents = _write(path, schema, rows)
    return {"file": path.name, "documents": documents, **described(path)}


def write_index(path: Path, rows: Iterator[tuple[Any, ...]]) -> dict[str, Any]:
    """Write which documents a dataset was made of; as ``write_shard``."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("id", pa.string()), ("source", pa.string()), ("sha256", pa.binary(32)),
            ("evened_sha256", pa.binary(32)), ("relation", pa.string()), ("kept_id", pa.string()),
        ]
    )  # fmt: skip
    told = ((*row[:4], RELATIONS[row[4]], row[5]) for row in rows)
    documents = _write(path, schema, told)
    return {"file": INDEX, "documents": documents, **described(path)}


def described(path: Path) -> dict[str, Any]:
    """Return a file's size and hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}


def write_text(path: Path, text: str) -> None:
    """Write a file at once: a reader sees all of it or none.

    Raises:
        InputError: if it cannot be written.
    """
    building = _building(path)
    try:
        with building.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(text)
        _put(building, path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write(path: Path, schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        building = _building(path)
        with pq.ParquetWriter(building, schema, compression="zstd") as writer:
            while batch := list(islice(rows, ROWS)):
                columns = [
                    pa.array(values, kind)
                    for values, kind in zip(zip(*batch, strict=True), schema.types, strict=True)
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                written += len(batch)
        _put(building, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return written


def _building(path: Path) -> Path:
    return path.with_name(f".{path.name}.building")


def _put(building: Path, path: Path) -> None:
    with building.open("rb") as file:
        os.fsync(file.fileno())
    building.replace(path)
