"""Files written atomically, flushed to the disk, and identified by their hash."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_PREFIX = 100
"""Characters of a file's name in its temporary file's name: file systems allow 255 bytes."""

TOKEN_BYTES = 4
TOKEN_PATTERN = "[0-9a-f]" * 2 * TOKEN_BYTES


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Write a temporary file that then replaces ``path``, with the user's usual permissions.

    A reader sees the old file or the new one, never a part. Where the block raises, the disk
    refuses or the user interrupts, the temporary file is removed and the old one stays.

    Args:
        path: the file to write; its folder must exist.
        durable: flush content and name to the disk, so that they survive a power cut.

    Yields:
        The temporary file, empty.

    Raises:
        OSError: if the disk refuses.
    """
    # In the same folder, as a rename is atomic within one file system only. Not by ``tempfile``,
    # whose files only their owner can read, whatever the umask says.
    token = secrets.token_hex(TOKEN_BYTES)
    temporary = path.with_name(f".{path.name[:MAX_PREFIX]}.{token}.tmp")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        if durable:
            fsync(temporary)
        temporary.replace(path)
    except BaseException:  # KeyboardInterrupt too
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        # The new name is the folder's content, which has to reach the disk as well.
        fsync(path.parent)


def remove_unfinished(folder: Path, pattern: str = "*") -> None:
    """Remove the temporary files of writers that were killed; not while others may be writing.

    Args:
        folder: where they are.
        pattern: names of the files that were written, as ``Path.glob`` takes them.

    Raises:
        OSError: if the disk refuses.
    """
    for temporary in folder.glob(f".{pattern}.{TOKEN_PATTERN}.tmp"):
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write a file atomically, as ``replacing`` does.

    Args:
        path: the file to write; its folder must exist.
        content: what to write; text as UTF-8.
        durable: flush content and name to the disk, so that they survive a power cut.

    Raises:
        OSError: if the disk refuses.
    """
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def fsync(path: Path) -> None:
    """Flush a file, or a folder's names, to the disk.

    Raises:
        OSError: if the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal.

    Raises:
        OSError: if it cannot be read.
    """
    return str(size_and_sha256(path)["sha256"])


def size_and_sha256(path: Path) -> dict[str, Any]:
    """Return a file's ``bytes`` and ``sha256``, both of the same opened file.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}
