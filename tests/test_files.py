"""A file is written atomically, and a disk that refuses keeps the old one and nothing else."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbon_trainer.files import (
    remove_unfinished,
    replacing,
    sha256_of,
    size_and_sha256,
    write_atomic,
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "figures.json"
    path.write_text("old", encoding="utf-8")
    return path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A disk that accepts no more than a kilobyte of any file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def names(path: Path) -> list[str]:
    return sorted(child.name for child in path.parent.iterdir())


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("content", ["ÅÄÖ\n", b"\xff\x00"])
def test_a_file_is_replaced(old: Path, content: str | bytes, durable: bool) -> None:
    write_atomic(old, content, durable=durable)
    assert old.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(old) == ["figures.json"]


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("durable", [True, False])
def test_a_full_disk_keeps_the_old_file_and_nothing_beside_it(old: Path, durable: bool) -> None:
    with pytest.raises(OSError, match="too large"):
        write_atomic(old, "x" * 4096, durable=durable)
    assert old.read_text(encoding="utf-8") == "old"
    assert names(old) == ["figures.json"]


def test_a_disk_that_refuses_only_at_the_end_leaves_nothing_either(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomic(old, "new")
    assert old.read_text(encoding="utf-8") == "old"
    assert names(old) == ["figures.json"]


def test_an_interruption_leaves_nothing_half_written(old: Path) -> None:
    def write() -> None:
        with replacing(old) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert old.read_text(encoding="utf-8") == "old"
    assert names(old) == ["figures.json"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(old: Path) -> None:
    with replacing(old) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert old.read_text(encoding="utf-8") == "old"
    assert old.read_text(encoding="utf-8") == "new"


def test_the_file_has_the_users_usual_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", "x")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomic(path, "x")
    assert path.read_text(encoding="utf-8") == "x"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "file", "x")


def test_what_a_killed_writer_has_left_is_removed_and_nothing_else(old: Path) -> None:
    others = [".mine.tmp", ".other.json.0badcafe.tmp", "figures.json.tmp"]
    for name in (".figures.json.0badcafe.tmp", *others):
        old.with_name(name).touch()
    remove_unfinished(old.parent, "figures*")
    assert names(old) == sorted(["figures.json", *others])


def test_a_file_is_known_by_its_size_and_hash(old: Path) -> None:
    digest = hashlib.sha256(b"old").hexdigest()
    assert sha256_of(old) == digest
    assert size_and_sha256(old) == {"bytes": 3, "sha256": digest}
