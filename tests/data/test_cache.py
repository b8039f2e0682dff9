"""A cache entry is whole or not there, whatever happens while it is built."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.data.cache import CacheEntry
from carbon_trainer.errors import InputError


def _write(folder: Path) -> dict[str, Any]:
    (folder / "tokens.bin").write_bytes(b"tokens")
    (folder / "tokenizer.json").write_text("{}")
    return {"tokens": 6}


def _entry(tmp_path: Path, *, built: bool = True) -> CacheEntry:
    entry = CacheEntry(tmp_path / "cache", "these files")
    if built:
        entry.build(_write)
    return entry


def _names(entry: CacheEntry) -> list[str]:
    return sorted(path.name for path in entry.folder.parent.iterdir() if path.name != ".lock")


def test_an_entry_is_whole_once_it_is_built(tmp_path: Path) -> None:
    assert not _entry(tmp_path, built=False).is_valid()
    entry = _entry(tmp_path)
    assert entry.is_valid()
    assert entry.facts() == {"tokens": 6}
    assert _names(entry) == [entry.folder.name]


def test_what_it_was_made_from_decides_where_it_is(tmp_path: Path) -> None:
    assert CacheEntry(tmp_path, "a").folder != CacheEntry(tmp_path, "b").folder


@pytest.mark.parametrize("name", ["tokens.bin", "tokenizer.json", "index.json"])
@pytest.mark.parametrize("damage", ["change", "cut", "remove", "nonsense"])
def test_a_damaged_entry_is_built_again(tmp_path: Path, name: str, damage: str) -> None:
    entry = _entry(tmp_path)
    path = entry.folder / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(
            {"change": b"X" + content[1:], "cut": content[:-1], "nonsense": b"[1]"}[damage]
        )
    assert not entry.is_valid()
    entry.build(_write)
    assert entry.is_valid()
    assert _names(entry) == [entry.folder.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError("bad line"), SystemExit])
def test_an_interruption_leaves_nothing(tmp_path: Path, error: Any) -> None:
    def interrupted(folder: Path) -> dict[str, Any]:
        _write(folder)
        raise error

    entry = _entry(tmp_path, built=False)
    with pytest.raises((KeyboardInterrupt, InputError, SystemExit)):
        entry.build(interrupted)
    assert not entry.is_valid()
    assert _names(entry) == []


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    def full(folder: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    entry = _entry(tmp_path, built=False)
    with pytest.raises(InputError) as caught:
        entry.build(full)
    assert str(caught.value) == (
        f"cannot write tokenized data to {tmp_path}/cache: No space left on device. Free some "
        "space, or choose another folder with --runs-dir."
    )
    assert _names(entry) == []


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(InputError, match=f"cannot write tokenized data to {tmp_path}/cache"):
        _entry(tmp_path)


def test_a_whole_entry_of_another_builder_stays(tmp_path: Path) -> None:
    entry = _entry(tmp_path, built=False)

    def overtaken(folder: Path) -> dict[str, Any]:
        _entry(tmp_path)
        return _write(folder)

    entry.build(overtaken)
    before = (entry.folder / "tokens.bin").stat().st_ino
    entry.build(_write)
    assert (entry.folder / "tokens.bin").stat().st_ino == before
    assert _names(entry) == [entry.folder.name]


def _build_many(folder: Path, failures: Any) -> None:
    for _ in range(20):
        entry = CacheEntry(folder, "these files")
        if not entry.is_valid():
            entry.build(_write)
        if not entry.is_valid():
            failures.value += 1


def test_builders_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    failures = context.Value("i", 0)
    builders = [context.Process(target=_build_many, args=(tmp_path, failures)) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0] * 4
    assert failures.value == 0
    assert CacheEntry(tmp_path, "these files").is_valid()
