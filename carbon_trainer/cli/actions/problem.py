"""A job to be planned, by the flags that describe it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.grid.csv import read_csv
from carbon_trainer.grid.series import IntensitySeries
from carbon_trainer.planning.problem import Idle, Level


def levels_of(text: str) -> tuple[Level, ...]:
    """Read ``950:1.0,850:0.975``.

    Raises:
        InputError: if it is no list of levels.
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([\d.eE+-]+)\s*:\s*([\d.eE+-]+)\s*", part)
        try:
            if match is None:
                raise ValueError  # noqa: TRY301 - one sentence for both
            found.append(Level(float(match[1]), float(match[2])))
        except ValueError:
            raise InputError(
                f"--levels: {part.strip()!r} is no level: write watts and speed, such as 850:0.975"
            ) from None
    return tuple(found)


def idles_of(flags: dict[str, Any]) -> tuple[Idle | None, Idle | None]:
    """Return the ways to pause and to release that flags describe.

    A pause costs ``--restart-s`` and ``--restart-kwh`` at each resume. Releasing is possible where
    one of its flags is given, or where there is no pause; it takes the same costs by default.
    """
    restart_s, restart_kwh = flags["restart_s"], flags["restart_kwh"]
    pause_w, release_w = flags["pause_w"], flags["release_w"]
    own_s, own_kwh = flags["release_restart_s"], flags["release_restart_kwh"]
    pause = None if pause_w is None else Idle(pause_w, restart_s, restart_kwh)
    if pause is not None and release_w is None and own_s is None and own_kwh is None:
        return pause, None
    release = Idle(
        release_w or 0.0,
        restart_s if own_s is None else own_s,
        restart_kwh if own_kwh is None else own_kwh,
    )
    return pause, release


def trace_of(path: Path) -> IntensitySeries:
    """Read a trace."""
    return read_csv(path)


def work_of(flags: dict[str, Any]) -> float:
    """Return the work that is asked for.

    Raises:
        InputError: if none is.
    """
    work = flags["work_hours"]
    if work is None:
        raise InputError("give --work-hours: the hours that the job takes at full speed")
    return float(work)
