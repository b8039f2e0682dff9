"""Which phase of a run it was at an instant: preparing, training, validating."""

from __future__ import annotations

from bisect import bisect_right

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.results import PhaseEnergy

FIRST = "run"


class Phases:
    """Changes of phase in order of time. One thread adds; any may read."""

    __slots__ = ("_changes",)

    def __init__(self, start_ns: int) -> None:
        self._changes: list[tuple[int, str]] = [(start_ns, FIRST)]

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def current(self) -> str:
        """The phase that was set last."""
        return self._changes[-1][1]

    def set(self, time_ns: int, name: str) -> None:
        """From an instant on it is another phase."""
        self._changes.append((time_ns, name))

    def at(self, time_ns: int) -> str:
        """Return the phase at an instant."""
        changes = self._changes
        return changes[max(0, bisect_right(changes, time_ns, key=_time) - 1)][1]

    def changes_ns(self, begin_ns: int, end_ns: int) -> list[int]:
        """Return the instants in between at which the phase changes."""
        return [ns for ns, _ in self._changes if begin_ns < ns < end_ns]

    def forget_before(self, time_ns: int) -> None:
        """Let go of what only matters before an instant."""
        old = bisect_right(self._changes, time_ns, key=_time) - 1
        if old > 0:
            del self._changes[:old]


class PhaseTotals:
    """What each phase has used, and for how long it lasted, in order of first use."""

    __slots__ = ("_energy_mj", "_lasted_ns")

    def __init__(self) -> None:
        self._energy_mj: dict[str, int] = {}
        self._lasted_ns: dict[str, int] = {}

    def add(self, name: str, energy_mj: int, lasted_ns: int) -> None:
        """Add a part of a phase."""
        self._energy_mj[name] = self._energy_mj.get(name, 0) + energy_mj
        self._lasted_ns[name] = self._lasted_ns.get(name, 0) + lasted_ns

    def copy(self) -> PhaseTotals:
        """Return a copy that can be added to."""
        copy = PhaseTotals()
        copy._energy_mj, copy._lasted_ns = dict(self._energy_mj), dict(self._lasted_ns)
        return copy

    def rows(self) -> tuple[PhaseEnergy, ...]:
        """Return a row for each phase."""
        return tuple(
            PhaseEnergy(name, energy_mj, self._lasted_ns[name] / NS_PER_S)
            for name, energy_mj in self._energy_mj.items()
        )


def _time(change: tuple[int, str]) -> int:
    return change[0]
