"""When to look at a counter, and what its changes tell the curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.refresh import Change, Rhythm
from carbon_trainer.energy.sources.base import Reading

SHORTEST_WAIT_S = 0.001
UNKNOWN_PERIOD_WAIT_S = 0.004
ASLEEP_SHARE = 0.85
"""Share of the refresh period that is slept through after a change."""

FINE_SHARE = 0.1
"""Share of the period between looks while a change is being awaited."""

CLEAR_SHARE = 0.3
PROBE_EVERY = 16
PROBE_ROUGH_EVERY = 3
"""Each so many foretold changes one is looked at from both sides."""

LOOKS_IN_A_STEP = 5
LONGEST_GAP_S = 0.1
"""A step is looked at so often, but the device no less often than this."""

GLANCE_SHARE = 0.1
SHORTEST_GLANCE_S = 0.01
"""Power between two refreshes is looked at so often where steps are as short as a few of them."""

HELD_BACK = 12
"""As many changes without a period begin the curve all the same."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A change that was seen before the period was known, at the latest at ``until_ns``."""

    reading: Reading
    change: Change
    until_ns: int

    def dated(self, period_ns: float) -> Change:
        """Return when it was: no longer than a period before it was seen."""
        oldest_ns = self.until_ns - round(period_ns)
        if self.change.time_ns >= (oldest_ns + self.until_ns) // 2:
            return self.change
        return Change((oldest_ns + self.until_ns) // 2, round(period_ns / 12**0.5))


class CounterLooks:
    """Turns looks at one counter into knots of its curve. ``take`` says when to look again.

    Args:
        curve: where changes go.
        clock: the time.
        step_s: tells how long the steps are whose energy is asked for, seconds; None before any.
    """

    __slots__ = (
        "_begun", "_clock", "_cost_s", "_curve", "_due_ns", "_first", "_foretold", "_held", "_late",
        "_looked", "_moved_ns", "_probing", "_rhythm", "_samples", "_searching",
        "_step_s", "_turns", "patience_s",
    )  # fmt: skip

    def __init__(
        self, curve: EnergyCurve, clock: Clock, step_s: Callable[[], float | None]
    ) -> None:
        self._curve = curve
        self._clock = clock
        self._step_s = step_s
        self._rhythm = Rhythm()
        self._cost_s = 0.0
        self._looked: Reading | None = None
        self._moved_ns: int | None = None
        self._first: list[_Held] = []
        self._begun = False
        self._samples: list[tuple[int, int]] = []
        self._foretold = 0
        self._due_ns = 0
        self._turns = 1
        self._late = False
        self._probing = False
        self._held: Reading | None = None
        self._searching = False
        self.patience_s = 0.0

    @property
    def refresh_s(self) -> float | None:
        """How often the counter changes, as learnt so far, seconds."""
        period_ns = self._rhythm.period_ns
        return None if period_ns is None else period_ns / NS_PER_S

    @property
    def looked_ns(self) -> int | None:
        """When it was last looked at; None before the first look."""
        return None if self._looked is None else self._looked.time_ns

    @property
    def moved_ns(self) -> int | None:
        """When it was last seen to have changed, or first looked at."""
        return self._moved_ns

    def take(self, reading: Reading, cost_s: float) -> float:
        """Take a look.

        Args:
            reading: what the counter showed.
            cost_s: how long the look took, seconds.

        Returns:
            How long to wait before the next, seconds; ``patience_s`` more does as well.
        """
        self._cost_s, self.patience_s = cost_s, 0.0
        before, self._looked = self._looked, reading
        if before is None or self._moved_ns is None:
            self._moved_ns = reading.time_ns
        elif self._held is not None:
            return self._after_probe(self._held, before, reading)
        elif reading.energy_mj != before.energy_mj:
            if self._probing and self._turns > 1:
                # Whether this is the change before the one awaited the next look tells.
                self._held, self._probing = before, False
                return self._until_due_s() + self._guard_s()
            return self._on_change(before, reading)
        return self._wait_for_change()

    def add_sample(self, time_ns: int, power_mw: int) -> None:
        """Take the power at a moment between looks."""
        self._samples.append((time_ns, power_mw))

    def glance_s(self) -> float:
        """How long until power is to be looked at, seconds; for ever where it helps nothing."""
        period_s, step_s = self.refresh_s, self._step_s()
        if not self._rhythm.is_locked or period_s is None:
            return float("inf")
        wanted = step_s is None or step_s < LOOKS_IN_A_STEP * period_s
        glance_s = max(GLANCE_SHARE * period_s, SHORTEST_GLANCE_S)
        return glance_s if wanted and glance_s < period_s / 3 else float("inf")

    def reset(self) -> None:
        """The device was away: nothing of its rhythm holds."""
        self._looked = self._moved_ns = self._held = None
        self._searching = False
        self._samples.clear()
        self._first.clear()
        self._rhythm.forget()

    def flush(self) -> None:
        """Give what was held back to the curve: nothing more will come."""
        if not self._begun:
            self._put_held()

    def _on_change(self, before: Reading, reading: Reading) -> float:
        self._moved_ns = reading.time_ns
        after_ns = before.time_ns - before.took_ns // 2
        until_ns = reading.time_ns + reading.took_ns // 2
        searching, self._searching = self._searching, False
        if (reading.energy_mj or 0) < (before.energy_mj or 0):
            # A counter that is reset stands at nothing until its next refresh.
            counted = bool(reading.energy_mj)
            change = self._rhythm.date_reset(after_ns, until_ns, has_refreshed=counted)
        elif searching:
            change = self._rhythm.found(after_ns, until_ns)
        else:
            change = self._rhythm.saw(after_ns, until_ns)
        # The counter was read at some moment of the call, and always at the same.
        jitter_ns = round(hypot(change.jitter_ns, reading.took_ns / 2))
        change = Change(change.time_ns, jitter_ns)
        if self._begun:
            self._put(reading, change)
        else:
            self._put_first(before, _Held(reading, change, until_ns))
        return self._wait_after_change(change.time_ns)

    def _after_probe(self, before: Reading, probe: Reading, reading: Reading) -> float:
        """Just before a foretold change, and now just after it."""
        if reading.energy_mj != probe.energy_mj:
            self._held = None
            return self._on_change(probe, reading)
        # It came earlier or it is late: which of the two, the next change tells.
        if not self._searching:
            self._searching = True
            self._rhythm.missed()
        self._looked = reading
        self._held = before
        return self._close_look_s()

    def _put(self, reading: Reading, change: Change) -> None:
        samples = self._samples
        # The newest before the change tells which one after it is new.
        later = next((i for i, (ns, _) in enumerate(samples) if ns > change.time_ns), len(samples))
        self._samples = samples[max(0, later - 1) :]
        self._curve.append(
            reading, changed_ns=change.time_ns, jitter_ns=change.jitter_ns, samples=samples
        )

    def _put_first(self, before: Reading, held: _Held) -> None:
        """Hold the first changes back until the period is known.

        Then it is known too when the counter had changed to what was read first, so that the start
        lies within a measured refresh, and how long before a look that came late its change was.
        """
        if not self._first:
            self._first.append(_Held(before, Change(before.time_ns, 0), before.time_ns))
        self._first.append(held)
        if self._rhythm.period_ns is not None or len(self._first) >= HELD_BACK:
            self._put_held()

    def _put_held(self) -> None:
        if len(self._first) < 2:
            return
        period_ns = self._rhythm.period_ns
        start, second = self._first[:2]
        seen = [held.change if period_ns is None else held.dated(period_ns) for held in self._first]
        if period_ns is not None and second.reading.time_ns - start.reading.time_ns < period_ns:
            seen[0] = Change(seen[1].time_ns - round(period_ns), seen[1].jitter_ns)
        else:
            del self._first[0], seen[0]
        self._begun = True
        for held, its_change in zip(self._first, seen, strict=True):
            self._put(held.reading, its_change)
        self._first.clear()

    def _wait_for_change(self) -> float:
        """Look again soon if the change is due, or when it will be."""
        if self._rhythm.is_locked:
            if self._until_due_s() > 0:
                return max(SHORTEST_WAIT_S, self._until_due_s() + self._guard_s())
            if not self._late:
                self._late = True
                self._rhythm.missed()
        return self._close_look_s()

    def _close_look_s(self) -> float:
        """How long to the next look while a change is awaited, seconds."""
        period_s = self.refresh_s
        fine_s = FINE_SHARE * period_s if period_s else UNKNOWN_PERIOD_WAIT_S
        # While a rhythm is learnt, for a second at most, looks may follow one another closely.
        rest_s = 0.0 if self._rhythm.is_learning else 3 * self._cost_s
        return max(SHORTEST_WAIT_S, fine_s - self._cost_s, rest_s)

    def _wait_after_change(self, changed_ns: int) -> float:
        period_ns = self._rhythm.period_ns
        if period_ns is None or self._rhythm.is_learning:
            return self._close_look_s()
        if not self._rhythm.is_locked:
            return max(SHORTEST_WAIT_S, ASLEEP_SHARE * period_ns / NS_PER_S - self._cost_s)
        self._late = False
        self._foretold += 1
        every = PROBE_ROUGH_EVERY if self._rhythm.is_rough else PROBE_EVERY
        self._probing = self._foretold % every == 0
        self._turns = max(1, int(self._gap_s() * NS_PER_S / period_ns + 0.01))
        self._due_ns = changed_ns + round(self._turns * period_ns)
        if self._probing:
            return max(SHORTEST_WAIT_S, self._until_due_s() - self._guard_s())
        # Well clear of this change and of the next, between which the counter tells the same.
        clear_s = max(self._guard_s(), CLEAR_SHARE * period_ns / NS_PER_S)
        self.patience_s = max(0.0, period_ns / NS_PER_S - 2 * clear_s)
        return max(SHORTEST_WAIT_S, self._until_due_s() + clear_s)

    def _until_due_s(self) -> float:
        return (self._due_ns - self._clock.now_ns()) / NS_PER_S

    def _guard_s(self) -> float:
        """How far from a foretold change a look is clear of it, seconds."""
        return self._rhythm.window_ns / NS_PER_S + self._cost_s / 2

    def _gap_s(self) -> float:
        """How long the device may go unseen, seconds: a part of the steps that are asked for."""
        step_s = self._step_s()
        gap_s = 0.0 if step_s is None else min(step_s / LOOKS_IN_A_STEP, LONGEST_GAP_S)
        return max(gap_s, 4 * self._cost_s)
