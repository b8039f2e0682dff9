"""The text to train on: its files, in an order that does not depend on where they lie."""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from carbon_trainer.data.readers import documents_in, is_binary
from carbon_trainer.errors import InputError

HASH_CHUNK = 1 << 20
SKIPPED_FOLDERS = {"__pycache__", "site-packages", "dist-packages", "node_modules"}
STDLIB_SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file of the corpus: its name in the record, its size and its hash."""

    path: Path
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files of text and what is known of them.

    Attributes:
        files: in training order: by hash, so that where they lie and what they are called does
            not matter, and so that the held-out end is a fair sample.
        origin: where they came from, for people.
        licence: as told, or known.
        text_field: field or column with the text, in JSONL and Parquet.
        skipped: files in folders that were no text.
    """

    files: tuple[CorpusFile, ...]
    origin: str
    licence: str | None
    text_field: str
    skipped: int

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def manifest(self) -> str:
        """A line ``sha256  bytes  name`` for each file, sorted."""
        return "".join(sorted(f"{f.sha256}  {f.bytes}  {f.name}\n" for f in self.files))

    @property
    def sha256(self) -> str:
        """Hash of the manifest."""
        return hashlib.sha256(self.manifest.encode()).hexdigest()

    def documents(self) -> Iterator[str]:
        """Yield every document, file by file."""
        for file in self.files:
            yield from documents_in(file.path, self.text_field)


def find_corpus(
    paths: Sequence[Path],
    *,
    text_field: str = "text",
    licence: str | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Find and hash the files that the user named; the standard library's source if none.

    Args:
        paths: files and folders.
        text_field: field or column with the text, in JSONL and Parquet.
        licence: the data's licence, if told.
        progress: is told how far it is.

    Raises:
        InputError: if a path is missing, unreadable, empty or not text.
    """
    if not paths:
        return _standard_library(text_field, progress)
    found: list[tuple[Path, str]] = []
    skipped = 0
    for path in paths:
        if path.is_dir():
            inside, passed = _in_folder(path)
            found += inside
            skipped += passed
        else:
            _check_file(path)
            found.append((path, path.name))
    if not found:
        raise InputError(
            f"there is no text in {_listed(paths)}: {skipped} other files were passed."
        )
    files = _hashed(found, progress)
    return Corpus(files, _listed(paths), licence, text_field, skipped)


def _standard_library(text_field: str, progress: Progress | None) -> Corpus:
    root = Path(sysconfig.get_path("stdlib"))
    found = [
        (path, name) for path, name in _in_folder(root)[0]
        if path.suffix == ".py" and not STDLIB_SKIPPED & set(Path(name).parts)
    ]  # fmt: skip
    if not found:
        raise InputError(
            f"Python's standard library in {root} has no source files: name text with --data."
        )
    version = ".".join(platform.python_version_tuple()[:2])
    origin = f"Python {version} standard library source"
    return Corpus(_hashed(found, progress), origin, "PSF-2.0", text_field, 0)


def _in_folder(root: Path) -> tuple[list[tuple[Path, str]], int]:
    """Return the text files below a folder and how many others there are."""
    found, skipped = [], 0
    for folder, folders, names in os.walk(root, onerror=_cannot_list):
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and f not in SKIPPED_FOLDERS
        )
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or not path.is_file():
                continue
            try:
                usable = path.suffix == ".parquet" or (_size(path) > 0 and _is_text(path))
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
            if usable:
                found.append((path, path.relative_to(root).as_posix()))
            else:
                skipped += 1
    return found, skipped


def _is_text(path: Path) -> bool:
    if is_binary(path):
        return False
    try:
        with path.open(encoding="utf-8") as file:
            while file.read(HASH_CHUNK):
                continue
    except UnicodeDecodeError:
        return False
    return True


def _cannot_list(error: OSError) -> None:
    raise InputError(f"cannot read the folder {error.filename}: {error.strerror}.") from error


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there is no file or folder {path} to train on.")
    if _size(path) == 0:
        raise InputError(f"{path} is empty: there is nothing to train on.")


def _size(path: Path) -> int:
    return path.stat().st_size


def _hashed(found: Sequence[tuple[Path, str]], progress: Progress | None) -> tuple[CorpusFile, ...]:
    files = []
    for path, name in found:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files.append(CorpusFile(path, name, _size(path), digest))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    files.sort(key=lambda file: (file.sha256, file.name))
    if progress:
        total = sum(file.bytes for file in files)
        progress(f"corpus: {len(files):,} files, {total / 1e6:,.1f} MB")
    return tuple(files)


def _listed(paths: Sequence[Path]) -> str:
    names = ", ".join(str(path) for path in paths[:3])
    return names + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
