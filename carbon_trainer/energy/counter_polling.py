"""When to poll a counter, and what its changes add to the curve.

While the refresh is being learnt, the counter is polled often. Once it is predictable, a poll falls
in the middle between two changes, where it costs nothing in accuracy; now and then a change is
probed instead: polled just before and just after its prediction, which verifies the prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.refresh import Change, RefreshTracker
from carbon_trainer.energy.sources.base import Reading

MIN_WAIT_S = 0.001
UNKNOWN_PERIOD_WAIT_S = 0.004
SLEEP_FRACTION = 0.85
"""Fraction of an irregular refresh's period that is slept through after a change."""

FINE_FRACTION = 0.1
"""Fraction of the period between polls while a change is being awaited."""

CLEARANCE_FRACTION = 0.3
PROBE_INTERVAL = 16
COARSE_PROBE_INTERVAL = 3
"""One of so many predicted changes is polled from both sides."""

POLLS_PER_STEP = 5
MAX_GAP_S = 0.1
"""A step is polled so often, but the device no less often than this."""

SAMPLE_FRACTION = 0.1
MIN_SAMPLE_INTERVAL_S = 0.01
"""Power between two refreshes is sampled so often where steps are as short as a few of them."""

MAX_PENDING_CHANGES = 12
"""After so many changes without a period the curve begins all the same."""


@dataclass(frozen=True, slots=True)
class _PendingChange:
    """A change from before the period was known; it happened by ``until_ns``."""

    reading: Reading
    change: Change
    until_ns: int

    def change_within(self, period_ns: float) -> Change:
        """Return when it happened: no longer than a period before it was read."""
        earliest_ns = self.until_ns - round(period_ns)
        if self.change.time_ns >= (earliest_ns + self.until_ns) // 2:
            return self.change
        return Change((earliest_ns + self.until_ns) // 2, round(period_ns / 12**0.5))


class CounterPoller:
    """Turns readings of one counter into knots of its curve, and decides when to poll it next.

    Args:
        curve: where changes go.
        clock: the time.
        step_s: returns the length of the steps whose energy is requested, seconds; None before any.
    """

    __slots__ = (
        "_before_probe", "_clock", "_curve", "_due_ns", "_has_begun", "_is_late", "_is_probing",
        "_is_searching", "_last_change_ns", "_last_reading", "_pending", "_periods_ahead",
        "_predicted_changes", "_read_cost_s", "_refresh", "_samples", "_step_s", "slack_s",
    )  # fmt: skip

    def __init__(
        self, curve: EnergyCurve, clock: Clock, step_s: Callable[[], float | None]
    ) -> None:
        self._curve = curve
        self._clock = clock
        self._step_s = step_s
        self._refresh = RefreshTracker()
        self._read_cost_s = 0.0
        self._last_reading: Reading | None = None
        self._last_change_ns: int | None = None
        self._pending: list[_PendingChange] = []
        self._has_begun = False
        self._samples: list[tuple[int, int]] = []
        self._predicted_changes = 0
        self._due_ns = 0
        self._periods_ahead = 1
        self._is_late = False
        self._is_probing = False
        self._before_probe: Reading | None = None
        self._is_searching = False
        self.slack_s = 0.0

    @property
    def refresh_s(self) -> float | None:
        """How often the counter changes, as learnt so far, seconds."""
        period_ns = self._refresh.period_ns
        return None if period_ns is None else period_ns / NS_PER_S

    @property
    def last_poll_ns(self) -> int | None:
        """When it was last polled; None before the first poll."""
        return None if self._last_reading is None else self._last_reading.time_ns

    @property
    def last_change_ns(self) -> int | None:
        """When it was last found changed, or first polled."""
        return self._last_change_ns

    def add_reading(self, reading: Reading, cost_s: float) -> float:
        """Add the reading of a poll.

        Args:
            reading: what the counter showed.
            cost_s: how long the poll took, seconds.

        Returns:
            How long to wait before the next, seconds; up to ``slack_s`` longer does as well.
        """
        self._read_cost_s, self.slack_s = cost_s, 0.0
        previous, self._last_reading = self._last_reading, reading
        if previous is None or self._last_change_ns is None:
            self._last_change_ns = reading.time_ns
        elif self._before_probe is not None:
            return self._after_probe(self._before_probe, previous, reading)
        elif reading.energy_mj != previous.energy_mj:
            if self._is_probing and self._periods_ahead > 1:
                # The counter has changed several times since the last poll. Whether the change
                # that is being probed is already among them, the next poll shows.
                self._before_probe, self._is_probing = previous, False
                return self._until_due_s() + self._guard_s()
            return self._on_change(previous, reading)
        return self._wait_for_change()

    def add_sample(self, time_ns: int, power_mw: int) -> None:
        """Add the power at a moment between polls."""
        self._samples.append((time_ns, power_mw))

    def sample_interval_s(self) -> float:
        """How long until power is to be sampled, seconds; infinite where samples do not help."""
        period_s, step_s = self.refresh_s, self._step_s()
        if not self._refresh.is_locked or period_s is None:
            return float("inf")
        is_useful = step_s is None or step_s < POLLS_PER_STEP * period_s
        interval_s = max(SAMPLE_FRACTION * period_s, MIN_SAMPLE_INTERVAL_S)
        return interval_s if is_useful and interval_s < period_s / 3 else float("inf")

    def reset(self) -> None:
        """Drop what was learnt: the device was away."""
        self._last_reading = self._last_change_ns = self._before_probe = None
        self._is_searching = False
        self._samples.clear()
        self._pending.clear()
        self._refresh.forget()

    def flush(self) -> None:
        """Give pending changes to the curve: nothing more will come."""
        if not self._has_begun:
            self._flush_pending()

    def _on_change(self, previous: Reading, reading: Reading) -> float:
        self._last_change_ns = reading.time_ns
        after_ns = previous.time_ns - previous.latency_ns // 2
        until_ns = reading.time_ns + reading.latency_ns // 2
        is_searching, self._is_searching = self._is_searching, False
        if (reading.energy_mj or 0) < (previous.energy_mj or 0):
            # A counter that is reset shows zero until its next refresh.
            has_refreshed = bool(reading.energy_mj)
            change = self._refresh.date_reset(after_ns, until_ns, has_refreshed=has_refreshed)
        elif is_searching:
            change = self._refresh.resync(after_ns, until_ns)
        else:
            change = self._refresh.observe(after_ns, until_ns)
        # The driver read the counter at an unknown moment of the call, but always at the same one:
        # an error of each instant that polling more often does not reduce.
        jitter_ns = round(hypot(change.jitter_ns, reading.latency_ns / 2))
        change = Change(change.time_ns, jitter_ns)
        if self._has_begun:
            self._append(reading, change)
        else:
            self._append_pending(previous, _PendingChange(reading, change, until_ns))
        return self._wait_after_change(change.time_ns)

    def _after_probe(self, before: Reading, probe: Reading, reading: Reading) -> float:
        """Compare the polls just before and just after a predicted change."""
        if reading.energy_mj != probe.energy_mj:
            self._before_probe = None
            return self._on_change(probe, reading)
        # It came earlier or it is late: which of the two, the next change shows.
        if not self._is_searching:
            self._is_searching = True
            self._refresh.miss()
        self._last_reading = reading
        self._before_probe = before
        return self._fine_wait_s()

    def _append(self, reading: Reading, change: Change) -> None:
        samples = self._samples
        # The newest sample before the change stays, as a sample is new only if it differs from
        # the one before.
        after = next((i for i, (ns, _) in enumerate(samples) if ns > change.time_ns), len(samples))
        self._samples = samples[max(0, after - 1) :]
        self._curve.append(
            reading, changed_ns=change.time_ns, jitter_ns=change.jitter_ns, samples=samples
        )

    def _append_pending(self, previous: Reading, pending: _PendingChange) -> None:
        """Hold the first changes back until the period is known.

        The period also dates the change to the very first reading, so that the start lies within
        a measured refresh, and limits how long before a late poll its change can have happened.
        """
        if not self._pending:
            first = Change(previous.time_ns, 0)
            self._pending.append(_PendingChange(previous, first, previous.time_ns))
        self._pending.append(pending)
        if self._refresh.period_ns is not None or len(self._pending) >= MAX_PENDING_CHANGES:
            self._flush_pending()

    def _flush_pending(self) -> None:
        if len(self._pending) < 2:
            return
        period_ns = self._refresh.period_ns
        first, second = self._pending[:2]
        changes = [
            pending.change if period_ns is None else pending.change_within(period_ns)
            for pending in self._pending
        ]
        if period_ns is not None and second.reading.time_ns - first.reading.time_ns < period_ns:
            # Only one change lies between the two readings, so the one before was a period earlier.
            changes[0] = Change(changes[1].time_ns - round(period_ns), changes[1].jitter_ns)
        else:
            del self._pending[0], changes[0]
        self._has_begun = True
        for pending, change in zip(self._pending, changes, strict=True):
            self._append(pending.reading, change)
        self._pending.clear()

    def _wait_for_change(self) -> float:
        """Return how long to wait: briefly if the change is due, else until it will be."""
        if self._refresh.is_locked:
            if self._until_due_s() > 0:
                return max(MIN_WAIT_S, self._until_due_s() + self._guard_s())
            if not self._is_late:
                self._is_late = True
                self._refresh.miss()
        return self._fine_wait_s()

    def _fine_wait_s(self) -> float:
        """Return the wait to the next poll while a change is awaited, seconds."""
        period_s = self.refresh_s
        fine_s = FINE_FRACTION * period_s if period_s else UNKNOWN_PERIOD_WAIT_S
        # At most a quarter of this thread's time is spent in the driver; only while the refresh is
        # learnt, for about a second, may it be more.
        rest_s = 0.0 if self._refresh.is_learning else 3 * self._read_cost_s
        return max(MIN_WAIT_S, fine_s - self._read_cost_s, rest_s)

    def _wait_after_change(self, changed_ns: int) -> float:
        period_ns = self._refresh.period_ns
        if period_ns is None or self._refresh.is_learning:
            return self._fine_wait_s()
        if not self._refresh.is_locked:
            return max(MIN_WAIT_S, SLEEP_FRACTION * period_ns / NS_PER_S - self._read_cost_s)
        self._is_late = False
        self._predicted_changes += 1
        interval = COARSE_PROBE_INTERVAL if self._refresh.is_coarse else PROBE_INTERVAL
        self._is_probing = self._predicted_changes % interval == 0
        self._periods_ahead = max(1, int(self._gap_s() * NS_PER_S / period_ns + 0.01))
        self._due_ns = changed_ns + round(self._periods_ahead * period_ns)
        if self._is_probing:
            return max(MIN_WAIT_S, self._until_due_s() - self._guard_s())
        # Well clear of this change and of the next: in between the counter shows the same value
        # at any moment, so the sampler may delay the poll and combine it with another device's.
        clearance_s = max(self._guard_s(), CLEARANCE_FRACTION * period_ns / NS_PER_S)
        self.slack_s = max(0.0, period_ns / NS_PER_S - 2 * clearance_s)
        return max(MIN_WAIT_S, self._until_due_s() + clearance_s)

    def _until_due_s(self) -> float:
        return (self._due_ns - self._clock.now_ns()) / NS_PER_S

    def _guard_s(self) -> float:
        """Return how far from a predicted change a poll is clear of it, seconds."""
        return self._refresh.window_ns / NS_PER_S + self._read_cost_s / 2

    def _gap_s(self) -> float:
        """Return how long the device may go unpolled, seconds: a part of the requested steps."""
        step_s = self._step_s()
        gap_s = 0.0 if step_s is None else min(step_s / POLLS_PER_STEP, MAX_GAP_S)
        return max(gap_s, 4 * self._read_cost_s)
