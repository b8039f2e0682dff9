"""The phases of a run over time: preparing, training, validating."""

from __future__ import annotations

from bisect import bisect_right

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.results import PhaseEnergy

INITIAL_PHASE = "run"


class Phases:
    """Changes of phase in order of time. One thread adds; any may read."""

    __slots__ = ("_changes",)

    def __init__(self, start_ns: int) -> None:
        self._changes: list[tuple[int, str]] = [(start_ns, INITIAL_PHASE)]

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def current(self) -> str:
        """The phase that was set last."""
        return self._changes[-1][1]

    def set(self, time_ns: int, name: str) -> None:
        """Start another phase at an instant."""
        self._changes.append((time_ns, name))

    def at(self, time_ns: int) -> str:
        """Return the phase at an instant."""
        changes = self._changes
        return changes[max(0, bisect_right(changes, time_ns, key=_time) - 1)][1]

    def changes_ns(self, begin_ns: int, end_ns: int) -> list[int]:
        """Return the instants in between at which the phase changes."""
        return [ns for ns, _ in self._changes if begin_ns < ns < end_ns]

    def forget_before(self, time_ns: int) -> None:
        """Drop changes that only matter before an instant."""
        # The last change before the instant stays: it says which phase the instant is in.
        outdated = bisect_right(self._changes, time_ns, key=_time) - 1
        if outdated > 0:
            del self._changes[:outdated]


class PhaseTotals:
    """The energy and duration of each phase, in order of first use."""

    __slots__ = ("_duration_ns", "_energy_mj")

    def __init__(self) -> None:
        self._energy_mj: dict[str, int] = {}
        self._duration_ns: dict[str, int] = {}

    def add(self, name: str, energy_mj: int, duration_ns: int) -> None:
        """Add a part of a phase."""
        self._energy_mj[name] = self._energy_mj.get(name, 0) + energy_mj
        self._duration_ns[name] = self._duration_ns.get(name, 0) + duration_ns

    def copy(self) -> PhaseTotals:
        """Return a copy that can be added to."""
        copy = PhaseTotals()
        copy._energy_mj, copy._duration_ns = dict(self._energy_mj), dict(self._duration_ns)
        return copy

    def rows(self) -> tuple[PhaseEnergy, ...]:
        """Return a row for each phase."""
        return tuple(
            PhaseEnergy(name, energy_mj, self._duration_ns[name] / NS_PER_S)
            for name, energy_mj in self._energy_mj.items()
        )


def _time(change: tuple[int, str]) -> int:
    return change[0]
