"""The text to train on: its files, in an order that does not depend on their paths."""

from __future__ import annotations

import codecs
import hashlib
import os
import platform
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from carbon_trainer.data.curated import CuratedDataset, dataset_at
from carbon_trainer.data.readers import BINARY, COMPRESSED, ROWS, cannot_read, kind_of, texts_in
from carbon_trainer.errors import InputError

CHUNK_BYTES = 1 << 20
TEXT = (
    frozenset({".txt", ".md", ".rst", ".py", ".html", ".xml", ".json", ".csv", ".tex"})
    | ROWS
    | COMPRESSED
)
"""Suffixes of text files: such a file in a folder is an error if it is not text, not skipped."""

SKIPPED_FOLDERS = frozenset({"__pycache__", "site-packages", "dist-packages", "node_modules"})
STDLIB_SKIPPED = frozenset({"test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip"})

MAGIC_NUMBERS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive or an office document", "extract it, or save it as text"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "extract it first"),
    (b"\x1f\x8b", "compressed with gzip", "decompress it, or name it .jsonl.gz if it holds JSONL"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it first"),
    (b"\xfd7zXZ\0", "compressed with xz", "decompress it first"),
    (b"%PDF-", "a PDF document", "extract its text first, e.g. with pdftotext"),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"-----BEGIN PGP MESSAGE-----", "encrypted with OpenPGP", "decrypt it first"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "encrypted with age", "decrypt it first"),
    (b"age-encryption.org/", "encrypted with age", "decrypt it first"),
    (b"Salted__", "encrypted with OpenSSL", "decrypt it first"),
    (codecs.BOM_UTF32_LE, "UTF-32 text", "convert it to UTF-8, e.g. with iconv"),
    (codecs.BOM_UTF16_LE, "UTF-16 text", "convert it to UTF-8, e.g. with iconv"),
    (codecs.BOM_UTF16_BE, "UTF-16 text", "convert it to UTF-8, e.g. with iconv"),
)
"""First bytes of files that are often mistaken for text, what they are, and what to do."""

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
    """Files of text and their provenance.

    Attributes:
        files: in training order: by hash, so that paths and names do not matter, and so that the
            end, which is held out, is a fair sample.
        origin: where they came from, for people.
        licence: as given, or from datasheets.
        text_field: field or column with the text, in JSONL and Parquet.
        skipped: files in folders that are not text.
        datasets: those of the folders that ``carbon-train data prepare`` made.
    """

    files: tuple[CorpusFile, ...]
    origin: str
    licence: str | None
    text_field: str
    skipped: int
    datasets: tuple[CuratedDataset, ...] = ()

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
        return hashlib.sha256(self.manifest.encode(errors="surrogateescape")).hexdigest()

    def documents(self) -> Iterator[str]:
        """Yield every document, file by file.

        Raises:
            InputError: if a file cannot be read as the format of its name.
        """
        for file in self.files:
            yield from texts_in(file.path, self.text_field)


def find_corpus(
    paths: Sequence[Path],
    *,
    text_field: str = "text",
    licence: str | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Corpus:
    """Find and hash the files that the user gave; the standard library's source if none.

    In folders, hidden files and files that are not text are skipped; a file that is given itself
    must be text. A file that is reached twice counts once.

    Args:
        paths: files and folders.
        text_field: field or column with the text, in JSONL and Parquet.
        licence: the data's licence, if given.
        progress: called with the corpus's size, as a line for people.
        check: called for every megabyte that is read; an exception from it ends the reading.

    Raises:
        InputError: if a path is missing, unreadable, empty or not text.
    """
    if paths:
        corpus = _corpus_at(paths, text_field, licence, check)
    else:
        corpus = _standard_library(text_field)
    if progress:
        skipped = f", {corpus.skipped:,} others are not text" if corpus.skipped else ""
        progress(f"corpus: {len(corpus.files):,} files, {corpus.bytes / 1e6:,.1f} MB{skipped}")
    return corpus


def _corpus_at(
    paths: Sequence[Path], text_field: str, licence: str | None, check: Callable[[], None]
) -> Corpus:
    files: dict[tuple[int, int], CorpusFile] = {}
    skipped = 0
    datasets = {path: dataset_at(path) for path in paths}
    for path in paths:
        dataset = datasets[path]
        for file, name, is_given in dataset.files() if dataset else _files_at(path):
            identity = _identity(file)
            if identity in files:
                continue
            must_be_text = is_given or kind_of(file) in TEXT
            inspected = _inspect(file, name, must_be_text=must_be_text, check=check)
            if dataset is not None:
                dataset.check(name, inspected.sha256 if inspected else None)
            if inspected is None:
                skipped += 1
            elif inspected.bytes:
                files[identity] = inspected
            elif is_given:
                raise InputError(f"{file} is empty: there is nothing to train on.")
    if not files:
        raise InputError(_no_text(paths, skipped))
    curated = tuple(dataset for dataset in datasets.values() if dataset)
    if licence is None and len(curated) == len(datasets):
        names = {name for dataset in curated for name in dataset.sheet["licences"]}
        licence = ", ".join(sorted(names))
    return Corpus(_ordered(files.values()), _names_of(paths), licence, text_field, skipped, curated)


def _no_text(paths: Sequence[Path], skipped: int) -> str:
    reason = {
        0: "all files are hidden or empty",
        1: "its only file is not text",
    }.get(skipped, f"none of its {skipped:,} files is text")
    return f"there is no text in {_names_of(paths)}: {reason}. Give files or folders of text."


def _standard_library(text_field: str) -> Corpus:
    root = Path(sysconfig.get_path("stdlib"))
    sources = (
        _inspect(path, name, must_be_text=False)
        for path, name in _in_folder(root)
        if path.suffix == ".py" and not STDLIB_SKIPPED & set(Path(name).parts)
    )
    files = _ordered(file for file in sources if file and file.bytes)
    if not files:
        raise InputError(
            f"Python's standard library in {root} has no source files: give text with --data."
        )
    version = ".".join(platform.python_version_tuple()[:2])
    return Corpus(files, f"Python {version} standard library source", "PSF-2.0", text_field, 0)


def _files_at(path: Path) -> Iterator[tuple[Path, str, bool]]:
    """Yield file, name in the record and whether the user gave the file itself."""
    try:
        if path.is_dir():
            yield from ((file, name, False) for file, name in _in_folder(path))
        elif path.is_file():
            yield path, path.name, True
        elif path.exists():
            raise InputError(f"{path} is not a regular file: write its text to a file first.")
        else:
            raise InputError(f"there is no file or folder {path} to train on.")
    except OSError as error:
        raise cannot_read(path, error) from error


def _in_folder(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the regular files below a folder, each folder once even if several links lead to it."""
    visited = {_identity(root)}
    # os.walk enters the folders that are left in the list, which is changed in place.
    for folder, folders, names in os.walk(root, onerror=_cannot_list, followlinks=True):
        folders[:] = [
            name for name in sorted(folders)
            if not name.startswith(".") and name not in SKIPPED_FOLDERS
            and _is_first_visit(Path(folder, name), visited)
        ]  # fmt: skip
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path, path.relative_to(root).as_posix()


def _is_first_visit(folder: Path, visited: set[tuple[int, int]]) -> bool:
    identity = _identity(folder)
    is_first = identity not in visited
    visited.add(identity)
    return is_first


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise cannot_read(path, error) from error
    return status.st_dev, status.st_ino


def _cannot_list(error: OSError) -> None:
    raise cannot_read(f"the folder {error.filename}", error) from error


def _inspect(
    path: Path, name: str, *, must_be_text: bool, check: Callable[[], None] = lambda: None
) -> CorpusFile | None:
    """Read a file once, for its hash and for whether it is text; None if it is not."""
    digest = hashlib.sha256()
    size = lines = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_binary = kind_of(path) in BINARY
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                check()
                digest.update(chunk)
                if not is_binary:
                    _check_text(path, chunk, decoder, size, lines)
                size += len(chunk)
                lines += chunk.count(b"\n")
        if not is_binary:
            decoder.decode(b"", final=True)
    except OSError as error:
        raise cannot_read(path, error) from error
    except (InputError, UnicodeDecodeError) as error:
        if not must_be_text:
            return None
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} ends within a character: it is incomplete.") from error
    return CorpusFile(path, name, size, digest.hexdigest())


def _check_text(
    path: Path, chunk: bytes, decoder: codecs.IncrementalDecoder, read: int, lines: int
) -> None:
    """Refuse a chunk that is not text, which follows ``read`` bytes and ``lines`` line ends."""
    if read == 0:
        _check_magic_number(path, chunk)
    if b"\0" in chunk:
        raise InputError(
            f"{path} is not text but binary: it holds zero bytes, the first at byte "
            f"{read + chunk.index(0)}. If it is encrypted or compressed, decrypt or "
            "decompress it first; if it is text in UTF-16, convert it to UTF-8, e.g. with iconv."
        )
    # Bytes of a character that the chunk before began: they shift the error's position.
    carried = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        line = 1 + lines + chunk.count(b"\n", 0, max(0, error.start - carried))
        raise InputError(
            f"{path} is not UTF-8 text (byte {read - carried + error.start}), first in line "
            f"{line}: convert it, e.g. with iconv; if it is encrypted or compressed, decrypt or "
            "decompress it first."
        ) from error


def _check_magic_number(path: Path, chunk: bytes) -> None:
    for magic_number, description, advice in MAGIC_NUMBERS:
        if chunk.startswith(magic_number):
            raise InputError(f"{path} is {description}, not UTF-8 text: {advice}.")


def _ordered(files: Iterable[CorpusFile]) -> tuple[CorpusFile, ...]:
    return tuple(sorted(files, key=lambda file: (file.sha256, file.name)))


def _names_of(paths: Sequence[Path]) -> str:
    names = ", ".join(str(path) for path in paths[:3])
    return names + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
