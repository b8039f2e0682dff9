"""A folder of tokenized data, known by what it was made from: whole, or not there."""

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
    nothing half-written and builders of the same entry do not disturb each other. An entry whose
    files are not those that were written is built again.

    Args:
        cache_dir: folder of all entries.
        made_from: text that decides all that the entry holds.
    """

    def __init__(self, cache_dir: Path, made_from: str) -> None:
        self.folder = cache_dir / hashlib.sha256(made_from.encode()).hexdigest()[:16]

    def is_valid(self) -> bool:
        """Tell whether the entry is there, with every file as it was written."""
        try:
            written: dict[str, dict[str, Any]] = self._index()["files"]
            return _described(self.folder, written) == written
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def facts(self) -> dict[str, Any]:
        """Return what the builder had to say of the entry."""
        facts: dict[str, Any] = self._index()["facts"]
        return facts

    def build(self, write: Callable[[Path], dict[str, Any]]) -> None:
        """Make the entry.

        Args:
            write: is given an empty folder to write into; returns facts to be kept with it.

        Raises:
            InputError: if the disk refuses.
        """
        parent = self.folder.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=parent, prefix=".building-") as building:
                entry = Path(building, "entry")
                entry.mkdir()  # with the user's usual permissions, unlike the folder around it
                facts = write(entry)
                names = sorted(path.name for path in entry.iterdir())
                index = {"facts": facts, "files": _described(entry, names)}
                (entry / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
                self._put(entry, Path(building, "replaced"))
        except OSError as error:
            raise InputError(
                f"cannot write tokenized data to {parent}: {error.strerror or error}. Free some "
                "space, or choose another folder with --runs-dir."
            ) from error

    def _put(self, entry: Path, replaced: Path) -> None:
        """Move a new entry into place, unless another builder has put a whole one there."""
        with _locked(self.folder.parent / ".lock"):
            if self.is_valid():
                return
            if self.folder.exists():
                self.folder.rename(replaced)
            entry.rename(self.folder)

    def _index(self) -> dict[str, Any]:
        index: dict[str, Any] = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
        return index


def _described(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return size and hash of each of a folder's files."""
    return {name: size_and_sha256(folder / name) for name in names}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
