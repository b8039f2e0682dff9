"""Runs `carbon-train` with the arguments given, and kills it (SIGKILL) at a named point.

Usage: python killed.py POINT COUNT ARGUMENT...; POINT is before-commit, after-commit, shard,
sheet or end, COUNT which time it comes there.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from carbon_trainer.cli.main import main
from carbon_trainer.curation import files, job, prepare
from carbon_trainer.curation.state import State


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(work: Callable[..., Any], count: int, *, after: bool) -> Callable[..., Any]:
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and not after:
            _die()
        result = work(*args, **kwargs)
        if calls == count:
            _die()
        return result

    return wrapped


def _arm(point: str, count: int) -> None:
    if point == "before-commit":
        State.commit = _dying(State.commit, count, after=False)  # type: ignore[method-assign]
    elif point == "after-commit":
        State.commit = _dying(State.commit, count, after=True)  # type: ignore[method-assign]
    elif point == "shard":
        prepare.write_shard = _dying(files.write_shard, count, after=True)
    elif point == "sheet":
        job.write_text = _dying(files.write_text, count, after=True)
    else:
        job.shutil.rmtree = _dying(job.shutil.rmtree, count, after=False)


_arm(sys.argv[1], int(sys.argv[2]))
sys.argv = ["carbon-train", *sys.argv[3:]]
main()
