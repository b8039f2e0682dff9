"""A checkpoint is gone on from only if it is what was sealed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from carbon_trainer.runs.checkpoints import (
    commit,
    is_valid,
    latest_valid,
    path_of,
    prune,
    size_of,
    step_of,
)


def saved(folder: Path, step: int, text: str = "weights") -> Path:
    partial = folder / "new.partial"
    partial.write_text(text)
    path = path_of(folder, step)
    commit(partial, path)
    return path


def test_the_seal_is_what_sha256sum_reads(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    assert step_of(path) == 3
    checked = subprocess.run(
        ["sha256sum", "-c", f"{path.name}.sha256"], cwd=tmp_path, capture_output=True, check=True
    )
    assert b"OK" in checked.stdout


@pytest.mark.parametrize("damage", ["changed", "shortened", "unsealed", "gone"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str) -> None:
    older, newer = saved(tmp_path, 1), saved(tmp_path, 2)
    assert latest_valid(tmp_path) == newer
    if damage == "changed":
        newer.write_text("weightz")
    elif damage == "shortened":
        newer.write_text("weig")
    elif damage == "unsealed":
        (tmp_path / f"{newer.name}.sha256").unlink()
    else:
        newer.unlink()
    assert latest_valid(tmp_path) == older


def test_a_folder_of_shards_is_sealed_as_a_whole(tmp_path: Path) -> None:
    partial = tmp_path / "new.partial"
    partial.mkdir()
    (partial / "meta.pt").write_text("meta")
    (partial / "shard0").write_text("a")
    path = path_of(tmp_path, 9)
    commit(partial, path)
    assert is_valid(path)
    assert size_of(path) == 5
    (path / "shard1").write_text("one more")
    assert not is_valid(path)


def test_the_same_step_may_be_saved_again(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    assert is_valid(saved(tmp_path, 1, "other weights"))


def test_old_ones_and_half_written_ones_are_removed(tmp_path: Path) -> None:
    for step in range(5):
        saved(tmp_path, step)
    (tmp_path / "step-00000009.partial").write_text("half")
    prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.glob("step-*.ckpt")) == [
        "step-00000003.ckpt", "step-00000004.ckpt",
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 4


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    assert latest_valid(tmp_path / "nowhere") is None
