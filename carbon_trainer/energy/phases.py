"""Which phase of a run it was at an instant: preparing, training, validating."""

from __future__ import annotations

from bisect import bisect_right

FIRST = "run"


class Phases:
    """Changes of phase in order of time. One thread adds; any may read."""

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


def _time(change: tuple[int, str]) -> int:
    return change[0]
