"""Parses the flags that describe a job to be planned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.grid.csv import read_csv
from carbon_trainer.grid.series import IntensitySeries
from carbon_trainer.planning.problem import Idle, PowerSetting


def levels_of(text: str) -> tuple[PowerSetting, ...]:
    """Read ``950:1.0,850:0.975``.

    Raises:
        InputError: if it is not a list of power levels.
    """
    levels = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([\d.eE+-]+)\s*:\s*([\d.eE+-]+)\s*", part)
        try:
            if match is None:
                raise ValueError  # noqa: TRY301 - one message for both
            levels.append(PowerSetting(float(match[1]), float(match[2])))
        except ValueError:
            raise InputError(
                f"--levels: invalid power level {part.strip()!r} (expected WATTS:SPEED, such as "
                "850:0.975)"
            ) from None
    return tuple(levels)


def idles_of(flags: dict[str, Any]) -> tuple[Idle | None, Idle | None]:
    """Return how the job can pause and be released, None where it cannot.

    A pause costs ``--restart-s`` and ``--restart-kwh`` at each resume. Releasing is possible if
    one of its flags is given, or if there is no pause; its costs default to those of a pause.
    """
    restart_s, restart_kwh = flags["restart_s"], flags["restart_kwh"]
    pause_w, release_w = flags["pause_w"], flags["release_w"]
    release_s, release_kwh = flags["release_restart_s"], flags["release_restart_kwh"]
    pause = None if pause_w is None else Idle(pause_w, restart_s, restart_kwh)
    if pause is not None and release_w is None and release_s is None and release_kwh is None:
        return pause, None
    release = Idle(
        release_w or 0.0,
        restart_s if release_s is None else release_s,
        restart_kwh if release_kwh is None else release_kwh,
    )
    return pause, release


def trace_of(path: Path) -> IntensitySeries:
    """Read a trace."""
    return read_csv(path)


def work_of(flags: dict[str, Any]) -> float:
    """Return the hours of work.

    Raises:
        InputError: if they are not given.
    """
    work = flags["work_hours"]
    if work is None:
        raise InputError("missing --work-hours, the job's duration at full speed")
    return float(work)
