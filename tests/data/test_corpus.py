"""What is in a corpus, in which order, and the messages for text that cannot be used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbon_trainer.data.corpus import Corpus, find_corpus
from carbon_trainer.errors import InputError


def _folder(tmp_path: Path, name: str = "corpus") -> Path:
    root = tmp_path / name
    (root / "inner").mkdir(parents=True)
    (root / "a.txt").write_text("first")
    (root / "b.md").write_text("second")
    (root / "inner" / "c.py").write_text("third")
    (root / "inner" / "rows.jsonl").write_text('{"text": "fourth"}\n\n{"text": "fifth"}\n')
    return root


def _refusal(*paths: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(find_corpus(paths).documents())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _texts(corpus: Corpus) -> list[str]:
    return list(corpus.documents())


@contextlib.contextmanager
def _without_privileges() -> Iterator[Path]:
    """Give a folder and, if root, become a user whom permissions hold back."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_a_folder_gives_all_its_text(tmp_path: Path) -> None:
    assert sorted(_texts(find_corpus([_folder(tmp_path)]))) == [
        "fifth", "first", "fourth", "second", "third",
    ]  # fmt: skip


def test_order_and_hash_do_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    first = find_corpus([_folder(tmp_path, "here")])
    second = find_corpus([_folder(tmp_path, "there")])
    assert _texts(first) == _texts(second)
    assert first.sha256 == second.sha256


def test_the_manifest_can_be_checked_with_other_tools(tmp_path: Path) -> None:
    corpus = find_corpus([_folder(tmp_path)])
    lines = corpus.manifest.splitlines()
    digest = hashlib.sha256(b"third").hexdigest()
    assert f"{digest}  5  inner/c.py" in lines
    assert lines == sorted(lines)
    assert corpus.sha256 == hashlib.sha256(corpus.manifest.encode()).hexdigest()
    assert corpus.bytes == sum(int(line.split("  ")[1]) for line in lines)


def test_with_nothing_named_it_is_the_standard_librarys_source() -> None:
    corpus = find_corpus([])
    names = {file.name for file in corpus.files}
    assert corpus.licence == "PSF-2.0"
    assert corpus.origin.startswith("Python 3.")
    assert {"argparse.py", "json/decoder.py"} <= names
    folders = {part for name in names for part in Path(name).parts[:-1]}
    assert not folders & {"test", "tests", "site-packages", "idlelib"}
    assert corpus.bytes > 5e6


def test_binaries_in_folders_are_skipped_and_counted(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (root / "picture.png").write_bytes(b"\x89PNG\0\0")
    (root / "noise.bin").write_bytes(b"\xff\xfe\xfd")
    lines: list[str] = []
    corpus = find_corpus([root], progress=lines.append)
    assert corpus.skipped == 2
    assert len(corpus.files) == 4
    assert lines == ["corpus: 4 files, 0.0 MB, 2 others are not text"]


def test_hidden_files_and_empty_files_in_folders_are_skipped(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("hidden")
    (root / "empty.txt").touch()
    assert len(find_corpus([root]).files) == 4


def test_a_file_reached_twice_counts_once(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (root / "again.txt").symlink_to(root / "a.txt")
    assert len(find_corpus([root, root / "b.md", root / "inner"]).files) == 4


def test_links_in_a_circle_do_not_hang(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (root / "inner" / "up").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root / "self")
    assert len(find_corpus([root]).files) == 4


def test_a_linked_folder_is_part_of_the_corpus(tmp_path: Path) -> None:
    root = tmp_path / "linked"
    root.mkdir()
    (root / "link").symlink_to(_folder(tmp_path), target_is_directory=True)
    assert len(find_corpus([root]).files) == 4


def test_the_licence_is_as_given(tmp_path: Path) -> None:
    assert find_corpus([_folder(tmp_path)], licence="CC0-1.0").licence == "CC0-1.0"


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    assert _refusal(path) == f"there is no file or folder {path} to train on."


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    assert _refusal(path) == f"{path} is empty: there is nothing to train on."


def test_a_folder_without_text_is_named(tmp_path: Path) -> None:
    start = f"there is no text in {tmp_path}: "
    (tmp_path / "empty.txt").touch()
    assert _refusal(tmp_path).startswith(f"{start}all files are hidden or empty.")
    (tmp_path / "x.bin").write_bytes(b"\0")
    assert _refusal(tmp_path).startswith(f"{start}its only file is not text.")
    (tmp_path / "y.bin").write_bytes(b"\0")
    assert _refusal(tmp_path).startswith(f"{start}none of its 2 files is text.")


def test_a_binary_that_is_named_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"text" + bytes(9))
    assert _refusal(path).startswith(
        f"{path} is not text but binary: it holds zero bytes, the first at byte "
    )


@pytest.mark.parametrize("before", [0, 5, (1 << 20) - 1, 1 << 20])
def test_text_in_another_encoding_is_refused_with_the_byte(tmp_path: Path, before: int) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"a" * before + "é!".encode("latin-1"))
    assert f"{path} is not UTF-8 text (byte {before})" in _refusal(tmp_path)


def test_lines_in_another_encoding_are_refused_with_the_first(tmp_path: Path) -> None:
    path = tmp_path / "mixed.txt"
    path.write_bytes("é\n".encode() * 50 + "é\n".encode("latin-1"))
    assert "(byte 150), first in line 51: convert" in _refusal(path)
    path.write_bytes("xé\n".encode() * (1 << 18) + b"\n\xff")  # a chunk ends within a character
    assert f"first in line {2 + (1 << 18)}:" in _refusal(path)


@pytest.mark.parametrize(
    ("beginning", "description", "advice"),
    [
        (b"PK\x03\x04", "a zip archive", "extract it"),
        (b"%PDF-1.7\n", "a PDF document", "extract its text"),
        (b"-----BEGIN PGP MESSAGE-----\n", "encrypted with OpenPGP", "decrypt it first"),
        (b"Salted__", "encrypted with OpenSSL", "decrypt it first"),
        (b"\x1f\x8b\x08", "compressed with gzip", "decompress it"),
        ("x".encode("utf-16"), "UTF-16 text", "convert it to UTF-8"),
        ("x".encode("utf-32"), "UTF-32 text", "convert it to UTF-8"),
    ],
)
def test_a_file_named_as_text_that_begins_as_another_format_is_named_as_that(
    tmp_path: Path, beginning: bytes, description: str, advice: str
) -> None:
    path = tmp_path / "letters.txt"
    path.write_bytes(beginning + b"and more")
    message = _refusal(tmp_path)
    assert message.startswith(f"{path} is {description}")
    assert advice in message


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    path = tmp_path / "self"
    path.symlink_to(path)
    assert _refusal(path).startswith(f"cannot read {path}: Too many")


def test_text_that_ends_within_a_character_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt"
    path.write_bytes("é".encode()[:1])
    assert _refusal(path) == f"{path} ends within a character: it is incomplete."


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert _refusal(path).startswith(f"{path} is not a regular file")


def test_a_file_that_may_not_be_read_is_named() -> None:
    with _without_privileges() as folder:
        if os.geteuid() == 65534:
            os.seteuid(0)
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        path = folder / "secret.txt"
        path.write_text("x")
        path.chmod(0)
        reason = "Permission denied. Make it readable, or leave it out."
        assert _refusal(path) == f"cannot read {path}: {reason}"
        assert _refusal(folder) == f"cannot read {path}: {reason}"
        (folder / "inner").mkdir(mode=0)
        path.unlink()
        assert _refusal(folder) == f"cannot read the folder {folder}/inner: {reason}"
        assert _refusal(folder / "inner") == f"cannot read {folder}/inner: {reason}"
        (folder / "inner").chmod(0o700)


def test_names_that_are_not_unicode_do_not_matter(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt"))
    path.write_text("x")
    assert len(find_corpus([tmp_path]).sha256) == 64


def test_jsonl_rows_come_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"body": str(i)}) + "\n" for i in range(50)))
    assert _texts(find_corpus([path], text_field="body")) == [str(i) for i in range(50)]
