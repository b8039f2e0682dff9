"""The phases that a training's energy is recorded under, and what each of them needs."""

from __future__ import annotations

from collections.abc import Callable

TRAIN, VALIDATION, CHECKPOINT, CLOSING = "train", "validation", "checkpoint", "closing"
"""Phases that a run's energy is recorded under, beside ``pause`` and those that users name."""


class Phases:
    """Tracks a training's phases, and the most energy that each kind of them has used.

    Args:
        set_phase: has the meter record what is used from then on under a phase.
        used_mj: the run's energy until now, in the upper estimate, millijoules.

    Attributes:
        name: the present phase.
        needs_mj: the most that a phase has used, by name, millijoules. Checkpoints are left out:
            a budget keeps room for them by their time.
    """

    def __init__(self, set_phase: Callable[[str], None], used_mj: Callable[[], int]) -> None:
        self.name = TRAIN
        self.needs_mj: dict[str, int] = {}
        self._set_phase = set_phase
        self._used_mj = used_mj
        self._open: list[tuple[str, int]] = []

    def switch(self, name: str) -> None:
        """Record what is used from now on under a phase."""
        self.name = name
        self._set_phase(name)

    def begin(self, name: str) -> None:
        """Record under a phase from here on, until ``end``; phases may be nested."""
        self._open.append((self.name, self._used_mj()))
        self.switch(name)

    def end(self) -> None:
        """Record under the phase before again, and learn what this one has used."""
        if not self._open:
            return
        name, (name_before, before_mj) = self.name, self._open.pop()
        self.switch(name_before)
        if name != CHECKPOINT:
            used_mj = self._used_mj() - before_mj
            self.needs_mj[name] = max(used_mj, self.needs_mj.get(name, 0))
