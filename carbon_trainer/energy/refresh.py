"""When a counter refreshes: its period and phase, learnt by polling it.

A poll shows that the counter has changed since the poll before, so each change lies between two
instants. Frequent polls over a dozen changes reveal the period; then changes are predicted, and it
is enough to poll once per refresh, and now and then just before and just after a predicted change:
what contradicts the prediction corrects it, as in a phase-locked loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbon_trainer.clock import NS_PER_S

CHANGES_TO_LOCK = 12
STEADY_FRACTION = 0.15
"""A refresh whose changes scatter by more than this fraction of its period is not steady."""

LOOSE_FRACTION = 0.5
"""Two polls further apart than this fraction of the period say little of the change's instant."""

PERIOD_QUANTILE = 0.25
"""The quantile of gaps that is taken for one period: some gaps may be several."""

MAX_LEARNING_CHANGES = 60
"""A counter whose changes have not become predictable after so many is taken for irregular."""

MIN_WINDOW_NS = NS_PER_S // 2000
MAX_WINDOW_FRACTION = 0.25
SHRINK_FACTOR, GROWTH_FACTOR = 0.75, 1.6
"""How the window around a predicted change follows the observations."""

JITTER_FRACTION = 0.2
"""One sigma of a predicted change, as a fraction of its window: few are near the window's edge."""

PERIOD_GAIN = 0.3
"""The fraction of a correction that is attributed to the period, not the phase."""


@dataclass(frozen=True, slots=True)
class Change:
    """When a counter changed: nanoseconds since the epoch, and one sigma of it."""

    time_ns: int
    jitter_ns: int


class RefreshTracker:
    """Learns and follows the refresh of one counter. Its changes are added in order of time."""

    __slots__ = (
        "_anchor_ns", "_change_count", "_corrected_ns", "_locked", "_period_ns", "_spans",
        "_window_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._period_ns: float | None = None
        self._anchor_ns = 0
        self._corrected_ns = 0
        self._window_ns = 0.0
        self._locked = False
        self._change_count = 0

    @property
    def period_ns(self) -> float | None:
        """The refresh period; None until a few changes have been observed."""
        return self._period_ns

    @property
    def is_locked(self) -> bool:
        """Whether changes are so regular that they can be predicted."""
        return self._locked

    @property
    def is_learning(self) -> bool:
        """Whether frequent polls may still reveal the period."""
        return not self._locked and self._change_count < MAX_LEARNING_CHANGES

    @property
    def window_ns(self) -> float:
        """How far from a predicted change a poll is certain to lie before or after it."""
        return self._window_ns

    @property
    def is_coarse(self) -> bool:
        """Whether polls on both sides of a change may still narrow the window."""
        return self._window_ns > max(2 * MIN_WINDOW_NS, 0.02 * (self._period_ns or 0.0))

    def observe(self, after_ns: int, until_ns: int) -> Change:
        """Add a change that happened between two polls; return when it happened."""
        self._change_count += 1
        if self._locked and self._period_ns:
            return self._follow(after_ns, until_ns, self._period_ns)
        if self._period_ns is None or until_ns - after_ns <= LOOSE_FRACTION * self._period_ns:
            self._learn(after_ns, until_ns)
        return _between(self._earliest_ns(after_ns, until_ns), until_ns)

    def date_reset(self, after_ns: int, until_ns: int, *, has_refreshed: bool) -> Change:
        """Date a counter's reset between two polls; the period is not updated from it.

        Args:
            after_ns: the poll before.
            until_ns: the poll that showed it.
            has_refreshed: whether it has counted something since.

        Returns:
            The refresh that was read, or the reset itself where there was none since.
        """
        if not self._locked:
            return _between(self._earliest_ns(after_ns, until_ns), until_ns)
        refresh_ns = max(after_ns, self.predicted_before(until_ns))
        if has_refreshed:
            return Change(refresh_ns, round(self._window_ns * JITTER_FRACTION))
        return _between(refresh_ns, until_ns)

    def resync(self, after_ns: int, until_ns: int) -> Change:
        """Add a change that was searched for, as it was not where it was predicted."""
        if not self._locked or self._period_ns is None:
            return self.observe(after_ns, until_ns)
        self._change_count += 1
        middle_ns = (after_ns + until_ns) // 2
        # The nearest prediction, be it before or after: an early change belongs to the next one.
        predicted_ns = self.predicted_before(middle_ns + self._period_ns / 2)
        time_ns = min(max(predicted_ns, after_ns), until_ns)
        self._correct(predicted_ns, time_ns, self._period_ns)
        return Change(time_ns, round((until_ns - after_ns) / 12**0.5))

    def miss(self) -> None:
        """Note that a predicted change has not come within its window."""
        self._widen()

    def predicted_before(self, time_ns: float) -> int:
        """Return the last predicted change that is not after an instant; only when locked."""
        period_ns = self._period_ns or 1.0
        periods = (time_ns - self._anchor_ns) // period_ns
        return self._anchor_ns + round(periods * period_ns)

    def forget(self) -> None:
        """Start to learn again, as after the counter was away."""
        self._spans.clear()
        self._locked = False
        self._change_count = 0

    def _earliest_ns(self, after_ns: int, until_ns: int) -> int:
        """Return the earliest instant at which a change between two polls can have happened."""
        if self._period_ns is None:
            return after_ns
        # It is no older than a period, else it would have changed again.
        return max(after_ns, until_ns - round(self._period_ns))

    def _follow(self, after_ns: int, until_ns: int, period_ns: float) -> Change:
        predicted_ns = self.predicted_before(until_ns)
        if predicted_ns <= self._anchor_ns:
            # That change was observed before, so this is the next, and early.
            predicted_ns = self._anchor_ns + round(period_ns)
        time_ns = min(max(predicted_ns, after_ns), until_ns)
        if time_ns != predicted_ns:
            self._correct(predicted_ns, time_ns, period_ns)
            error_ns = abs(time_ns - predicted_ns)
            return Change(time_ns, round(max(self._window_ns * JITTER_FRACTION, error_ns)))
        self._anchor_ns = time_ns
        # Agreement is evidence only where the polls were close enough to have contradicted it.
        if until_ns - after_ns <= LOOSE_FRACTION * period_ns:
            self._window_ns = max(SHRINK_FACTOR * self._window_ns, MIN_WINDOW_NS)
        return Change(time_ns, round(self._window_ns * JITTER_FRACTION))

    def _correct(self, predicted_ns: int, time_ns: int, period_ns: float) -> None:
        """Move the phase to where the change must have been, and the period a little with it.

        Both terms of a phase-locked loop: the phase takes the whole error, so that it never stays
        contradicted; the period takes a part of it, spread over the periods since the last
        correction, as the error has built up over all of them.
        """
        periods = max(1, round((predicted_ns - self._corrected_ns) / period_ns))
        self._anchor_ns = self._corrected_ns = time_ns
        self._period_ns = period_ns + PERIOD_GAIN * (time_ns - predicted_ns) / periods
        self._widen()

    def _widen(self) -> None:
        self._window_ns = max(GROWTH_FACTOR * self._window_ns, 2 * MIN_WINDOW_NS)
        # Windows of neighbouring changes that nearly touch predict nothing any more.
        if self._window_ns > MAX_WINDOW_FRACTION * (self._period_ns or 0.0):
            self.forget()

    def _learn(self, after_ns: int, until_ns: int) -> None:
        self._spans.append((after_ns, until_ns))
        # Relative to the first: nanoseconds since the epoch do not fit a float exactly.
        middles = (np.array(self._spans, np.int64) - self._spans[0][0]).mean(axis=1)
        # Fewer than three gaps do not show which of them are several periods long.
        if len(middles) < 4:
            return
        period_ns = _period(middles)
        periods = np.round((middles - middles[0]) / period_ns)
        slope_ns, first_ns = np.polyfit(periods, middles, 1)
        scatter_ns = float(np.std(middles - (first_ns + slope_ns * periods)))
        self._period_ns = float(slope_ns) if slope_ns > 0 else period_ns
        if len(middles) < CHANGES_TO_LOCK:
            return
        # Else the next dozen changes get another chance, until there were too many.
        if scatter_ns <= STEADY_FRACTION * period_ns:
            self._anchor_ns = self._spans[0][0] + round(first_ns + slope_ns * periods[-1])
            self._corrected_ns = self._anchor_ns
            self._window_ns = max(2 * scatter_ns, 2 * MIN_WINDOW_NS)
            self._locked = self._window_ns <= MAX_WINDOW_FRACTION * period_ns
        self._spans.clear()


def _between(after_ns: int, until_ns: int) -> Change:
    """Equally likely anywhere between: mean and standard deviation of a uniform distribution."""
    return Change((after_ns + until_ns) // 2, round((until_ns - after_ns) / 12**0.5))


def _period(middles_ns: np.ndarray) -> float:
    """Return the period of changes of which some may have been missed."""
    gaps_ns = np.diff(middles_ns)
    periods = np.maximum(1, np.round(gaps_ns / np.quantile(gaps_ns, PERIOD_QUANTILE)))
    return float(gaps_ns.sum() / periods.sum())
