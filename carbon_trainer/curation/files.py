"""The files of a dataset: shards and index, the same bytes from the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.curation.disk import cannot_write
from carbon_trainer.curation.state import RELATIONS
from carbon_trainer.files import remove_unfinished, replacing, size_and_sha256, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 512
"""Rows of a row group, held in memory while a file is written. Another number, other bytes."""

INDEX = "index/documents.parquet"
MANIFEST = "index/inputs.txt"

COLUMNS = ("text", "id", "source", "licence", "language")


def write_shard(path: Path, rows: Iterator[tuple[Any, ...]]) -> dict[str, Any]:
    """Write documents into a file.

    Args:
        path: the file.
        rows: values of ``COLUMNS``.

    Returns:
        Its entry in the datasheet: file, documents, bytes, sha256.

    Raises:
        InputError: if it cannot be written.
    """
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    documents = _write(path, schema, rows)
    return {"file": path.name, "documents": documents, **size_and_sha256(path)}


def write_index(path: Path, rows: Iterator[tuple[Any, ...]]) -> dict[str, Any]:
    """Write the index of the documents that a dataset was made of; as ``write_shard``."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("id", pa.string()), ("source", pa.string()), ("sha256", pa.binary(32)),
            ("evened_sha256", pa.binary(32)), ("relation", pa.string()), ("kept_id", pa.string()),
        ]
    )  # fmt: skip
    named_rows = ((*row[:4], RELATIONS[row[4]], row[5]) for row in rows)
    documents = _write(path, schema, named_rows)
    return {"file": INDEX, "documents": documents, **size_and_sha256(path)}


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: a reader sees all of it or nothing.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        # File names that are not UTF-8 keep their bytes.
        write_atomic(path, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_unfinished_files(folder: Path) -> None:
    """Remove the unfinished files of a preparation that was killed.

    Raises:
        InputError: if it cannot be removed.
    """
    try:
        remove_unfinished(folder, "*.parquet")
        remove_unfinished((folder / INDEX).parent)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _write(path: Path, schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as building,
            pq.ParquetWriter(building, schema, compression="zstd") as writer,
        ):
            while batch := list(islice(rows, ROWS)):
                columns = [
                    pa.array(values, kind)
                    for values, kind in zip(zip(*batch, strict=True), schema.types, strict=True)
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                written += len(batch)
    except OSError as error:
        raise cannot_write(path, error) from error
    return written
