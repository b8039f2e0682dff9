"""A cache of tokenized data, keyed by its inputs; an entry is complete or does not exist."""

from __future__ import annotations

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.files import size_and_sha256

INDEX = "index.json"


class CacheEntry:
    """One entry of the cache.

    An entry is built beside its place and moved there in one step, so that an interruption leaves
    nothing half-written and several builders of one entry do not disturb each other. An entry whose
    files were changed is built again.

    Args:
        cache_dir: folder of all entries.
        made_from: text that determines the entry's content; its hash is the entry's name.
    """

    def __init__(self, cache_dir: Path, made_from: str) -> None:
        self.folder = cache_dir / hashlib.sha256(made_from.encode()).hexdigest()[:16]

    def is_valid(self) -> bool:
        """Return whether the entry exists, with every file as it was written."""
        try:
            written: dict[str, dict[str, Any]] = self._index()["files"]
            return _sizes_and_hashes(self.folder, written) == written
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def facts(self) -> dict[str, Any]:
        """Return the builder's facts about the entry."""
        facts: dict[str, Any] = self._index()["facts"]
        return facts

    def build(self, write: Callable[[Path], dict[str, Any]]) -> None:
        """Build the entry.

        Args:
            write: writes the entry into an empty folder, and returns facts to store with it.

        Raises:
            InputError: if it cannot be written.
        """
        parent = self.folder.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=parent, prefix=".building-") as building:
                entry = Path(building, "entry")
                entry.mkdir()  # with the user's usual permissions, unlike the folder around it
                facts = write(entry)
                names = sorted(path.name for path in entry.iterdir())
                index = {"facts": facts, "files": _sizes_and_hashes(entry, names)}
                (entry / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
                self._commit(entry, Path(building, "replaced"))
        except OSError as error:
            raise InputError(
                f"cannot write tokenized data to {parent}: {error.strerror or error}. Free some "
                "space, or choose another folder with --runs-dir."
            ) from error

    def _commit(self, entry: Path, replaced: Path) -> None:
        """Move a new entry into place, unless another builder has put a valid one there."""
        with _locked(self.folder.parent / ".lock"):
            if self.is_valid():
                return
            if self.folder.exists():
                # Into the temporary folder, which is deleted: a folder cannot replace another.
                self.folder.rename(replaced)
            entry.rename(self.folder)

    def _index(self) -> dict[str, Any]:
        index: dict[str, Any] = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
        return index


def _sizes_and_hashes(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return size and hash of each of a folder's files, by name."""
    return {name: size_and_sha256(folder / name) for name in names}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
