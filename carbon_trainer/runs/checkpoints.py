"""Checkpoints on disk: sealed with a hash when whole, found again newest first. Knows no torch.

The seal is a file beside the checkpoint in the format of ``sha256sum``, so that anybody can check
it. A checkpoint without one, or that differs from it, is never gone on from.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from carbon_trainer.files import fsync, remove_unfinished, replacing, sha256_of, write_atomic

log = logging.getLogger(__name__)

PATTERN = "step-*.ckpt"
SEAL = ".sha256"


def path_of(folder: Path, step: int) -> Path:
    """Return where a step's checkpoint lies."""
    return folder / f"step-{step:08d}.ckpt"


def step_of(path: Path) -> int:
    """Return a checkpoint's step by its name."""
    return int(path.stem.removeprefix("step-"))


def commit(partial: Path, path: Path) -> None:
    """Seal a written checkpoint and give it its name, so that it is whole or not there.

    Raises:
        OSError: if the disk refuses.
    """
    lines = [f"{digest}  {name}\n" for name, digest in _digests(partial, path.name)]
    with replacing(_seal_of(path)) as seal:
        # Everything that can fail on a full disk happens before the existing checkpoint is removed.
        seal.write_text("".join(lines), encoding="utf-8")
        for file in (seal, *_files(partial)):
            fsync(file)
        remove(path)
        partial.rename(path)


def is_valid(path: Path) -> bool:
    """Say whether a checkpoint is what was sealed."""
    try:
        sealed = _seal_of(path).read_text(encoding="utf-8").splitlines()
        return sealed == [f"{digest}  {name}" for name, digest in _digests(path, path.name)]
    except (OSError, UnicodeDecodeError) as error:
        log.debug("%s: %s", path, error)
        return False


def seal_inside(folder: Path, name: str) -> None:
    """Write a folder's seal into the folder itself, for those who keep no file beside it.

    Args:
        folder: the checkpoint, whole.
        name: the seal's name; ``sha256sum -c`` within the folder checks it.

    Raises:
        OSError: if the disk refuses.
    """
    lines = [f"{digest}  {file}\n" for file, digest in _inside(folder) if file != name]
    write_atomic(folder / name, "".join(lines))


def damaged_inside(folder: Path, name: str) -> list[str]:
    """Return the files of a folder that are not as ``seal_inside`` has found them.

    Raises:
        OSError: if there is no seal, or a file cannot be read.
        ValueError: if the seal is none.
    """
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    sealed = {file: digest for digest, file in (line.split("  ", 1) for line in lines)}
    digests = {file: sha256_of(folder / file) for file in sealed if (folder / file).is_file()}
    return sorted(file for file, digest in sealed.items() if digests.get(file) != digest)


def latest_valid(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole; damaged ones are logged and passed over."""
    for path in sorted(folder.glob(PATTERN), reverse=True):
        if is_valid(path):
            return path
        log.warning("%s is damaged or was not finished; an older one is taken.", path)
    return None


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest, and what a killed process has left half-written."""
    for old in sorted(folder.glob(PATTERN))[:-keep]:
        remove(old)
    for partial in folder.glob("step-*.partial"):
        remove(partial)
    remove_unfinished(folder, "step-*")


def remove(path: Path) -> None:
    """Remove a checkpoint and its seal; what cannot be removed is logged."""
    try:
        _seal_of(path).unlink(missing_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error)


def size_of(path: Path) -> int:
    """Return a checkpoint's size, bytes."""
    return sum(file.stat().st_size for file in _files(path))


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + SEAL)


def _digests(path: Path, name: str) -> Iterator[tuple[str, str]]:
    for file in _files(path):
        inside = "" if file == path else f"/{file.relative_to(path)}"
        yield f"{name}{inside}", sha256_of(file)


def _inside(folder: Path) -> Iterator[tuple[str, str]]:
    for file in _files(folder):
        yield str(file.relative_to(folder)), sha256_of(file)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path]
