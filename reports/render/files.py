"""Writes the files of a report into a folder, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from carbon_trainer.errors import InputError
from carbon_trainer.files import write_atomic


def write_files(directory: Path, files: Mapping[str, tuple[str, str | bytes]]) -> dict[str, Path]:
    """Write files by name and content into a folder.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.values():
            write_atomic(directory / name, content)
    except OSError as error:
        raise InputError(
            f"cannot write the report into {directory}: {error.strerror or error}. Give another "
            "folder."
        ) from error
    return {key: directory / name for key, (name, _) in files.items()}
