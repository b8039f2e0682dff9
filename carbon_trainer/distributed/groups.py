"""Process groups of ours, beside those of training: over gloo, so that ranks wait on their CPUs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

log = logging.getLogger(__name__)


def join_group(timeout: timedelta, ranks: Sequence[int] | None = None) -> Any:
    """Make a group of some ranks, by default of all; every rank must call it at the same time."""
    members = None if ranks is None else list(ranks)
    return dist.new_group(members, backend="gloo", timeout=timeout)


def leave_group(group: Any) -> None:
    """Let go of a group before the process ends.

    A gloo thread that still holds the last collective's tensors when Python ends would abort the
    process: it takes the interpreter's lock to release them (seen with torch 2.13).
    """
    if group is None or not dist.is_initialized():
        return
    try:
        dist.destroy_process_group(group)
    except (RuntimeError, ValueError):
        # Somebody has destroyed all groups already.
        log.debug("leaving a process group", exc_info=True)
