"""When a counter refreshes: its period and phase, learnt from looking at it.

A look tells that the counter has changed since the look before, so each change lies between two
instants. Close looks at a dozen changes tell the rhythm; then changes are foretold, and it is
enough to look once in a refresh, and now and then just before and just after a foretold change:
what contradicts the rhythm corrects it, as in a phase-locked loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbon_trainer.clock import NS_PER_S

CHANGES_TO_LOCK = 12
STEADY_SHARE = 0.15
"""A refresh whose changes stray more than this share of its period has no steady rhythm."""

LOOSE_SHARE = 0.5
"""Two looks further apart than this share of the period tell little of the change's instant."""

SHORT_GAPS = 0.25
"""The quantile of gaps that is taken for one period: some gaps may be several."""

GIVEN_UP_AFTER = 60
"""A counter without a rhythm after so many changes has none."""

NARROWEST_NS = NS_PER_S // 2000
WIDEST_SHARE = 0.25
NARROWER, WIDER = 0.75, 1.6
"""How the window around a foretold change follows what is seen."""

JITTER_SHARE = 0.2
"""One sigma of a foretold change, as a share of its window: it is seldom near the window's edge."""

PERIOD_GAIN = 0.3
"""Share of a correction that is taken to come from the period, not the phase."""


@dataclass(frozen=True, slots=True)
class Change:
    """When a counter changed: nanoseconds since the epoch, and one sigma of it."""

    time_ns: int
    jitter_ns: int


class Rhythm:
    """The refresh of one counter. Looks are given in order."""

    __slots__ = (
        "_anchor_ns", "_corrected_ns", "_locked", "_period_ns", "_seen", "_spans", "_window_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._period_ns: float | None = None
        self._anchor_ns = 0
        self._corrected_ns = 0
        self._window_ns = 0.0
        self._locked = False
        self._seen = 0

    @property
    def period_ns(self) -> float | None:
        """The refresh period; None until a few changes have been seen."""
        return self._period_ns

    @property
    def is_locked(self) -> bool:
        """Whether changes come so steadily that they can be foretold."""
        return self._locked

    @property
    def is_learning(self) -> bool:
        """Whether close looks may still find a rhythm."""
        return not self._locked and self._seen < GIVEN_UP_AFTER

    @property
    def window_ns(self) -> float:
        """How far from a foretold change a look is clear of it."""
        return self._window_ns

    @property
    def is_rough(self) -> bool:
        """Whether looks from both sides of a change may still narrow the window."""
        return self._window_ns > max(2 * NARROWEST_NS, 0.02 * (self._period_ns or 0.0))

    def saw(self, after_ns: int, until_ns: int) -> Change:
        """Take a change that happened between two looks; return when it did."""
        self._seen += 1
        if self._locked and self._period_ns:
            return self._follow(after_ns, until_ns, self._period_ns)
        if self._period_ns is None or until_ns - after_ns <= LOOSE_SHARE * self._period_ns:
            self._learn(after_ns, until_ns)
        return _between(self._oldest_ns(after_ns, until_ns), until_ns)

    def date_reset(self, after_ns: int, until_ns: int, *, has_refreshed: bool) -> Change:
        """Date a counter's reset between two looks; the period is not updated from it.

        Args:
            after_ns: the look before.
            until_ns: the look that showed it.
            has_refreshed: whether it has counted something since.

        Returns:
            The refresh that was read, or the reset itself where there was none since.
        """
        if not self._locked:
            return _between(self._oldest_ns(after_ns, until_ns), until_ns)
        refresh_ns = max(after_ns, self.before(until_ns))
        if has_refreshed:
            return Change(refresh_ns, round(self._window_ns * JITTER_SHARE))
        return _between(refresh_ns, until_ns)

    def found(self, after_ns: int, until_ns: int) -> Change:
        """Take a change that was looked for closely, as it was not where it was foretold."""
        if not self._locked or self._period_ns is None:
            return self.saw(after_ns, until_ns)
        self._seen += 1
        middle_ns = (after_ns + until_ns) // 2
        foretold_ns = self.before(middle_ns + self._period_ns / 2)
        time_ns = min(max(foretold_ns, after_ns), until_ns)
        self._correct(foretold_ns, time_ns, self._period_ns)
        return Change(time_ns, round((until_ns - after_ns) / 12**0.5))

    def missed(self) -> None:
        """A foretold change has not come in its window."""
        self._widen()

    def before(self, time_ns: float) -> int:
        """Return the last foretold change that is not after an instant; only when locked."""
        period_ns = self._period_ns or 1.0
        turns = (time_ns - self._anchor_ns) // period_ns
        return self._anchor_ns + round(turns * period_ns)

    def forget(self) -> None:
        """Begin to learn anew: the counter was away."""
        self._spans.clear()
        self._locked = False
        self._seen = 0

    def _oldest_ns(self, after_ns: int, until_ns: int) -> int:
        """Return when a change between two looks was at the earliest."""
        if self._period_ns is None:
            return after_ns
        # It is no older than a period, else it would have changed again.
        return max(after_ns, until_ns - round(self._period_ns))

    def _follow(self, after_ns: int, until_ns: int, period_ns: float) -> Change:
        foretold_ns = self.before(until_ns)
        if foretold_ns <= self._anchor_ns:
            # That change was seen before, so this is the next, and early.
            foretold_ns = self._anchor_ns + round(period_ns)
        time_ns = min(max(foretold_ns, after_ns), until_ns)
        if time_ns != foretold_ns:
            self._correct(foretold_ns, time_ns, period_ns)
            off_ns = abs(time_ns - foretold_ns)
            return Change(time_ns, round(max(self._window_ns * JITTER_SHARE, off_ns)))
        self._anchor_ns = time_ns
        if until_ns - after_ns <= LOOSE_SHARE * period_ns:
            self._window_ns = max(NARROWER * self._window_ns, NARROWEST_NS)
        return Change(time_ns, round(self._window_ns * JITTER_SHARE))

    def _correct(self, foretold_ns: int, time_ns: int, period_ns: float) -> None:
        """Move the phase to where the change must have been, and the period a little with it."""
        turns = max(1, round((foretold_ns - self._corrected_ns) / period_ns))
        self._anchor_ns = self._corrected_ns = time_ns
        self._period_ns = period_ns + PERIOD_GAIN * (time_ns - foretold_ns) / turns
        self._widen()

    def _widen(self) -> None:
        self._window_ns = max(WIDER * self._window_ns, 2 * NARROWEST_NS)
        if self._window_ns > WIDEST_SHARE * (self._period_ns or 0.0):
            self.forget()

    def _learn(self, after_ns: int, until_ns: int) -> None:
        self._spans.append((after_ns, until_ns))
        middles = (np.array(self._spans, np.int64) - self._spans[0][0]).mean(axis=1)
        if len(middles) < 4:
            return
        period_ns = _period(middles)
        turns = np.round((middles - middles[0]) / period_ns)
        slope_ns, first_ns = np.polyfit(turns, middles, 1)
        strays_ns = float(np.std(middles - (first_ns + slope_ns * turns)))
        self._period_ns = float(slope_ns) if slope_ns > 0 else period_ns
        if len(middles) < CHANGES_TO_LOCK:
            return
        if strays_ns <= STEADY_SHARE * period_ns:
            self._anchor_ns = self._spans[0][0] + round(first_ns + slope_ns * turns[-1])
            self._corrected_ns = self._anchor_ns
            self._window_ns = max(2 * strays_ns, 2 * NARROWEST_NS)
            self._locked = self._window_ns <= WIDEST_SHARE * period_ns
        self._spans.clear()


def _between(after_ns: int, until_ns: int) -> Change:
    """Equally likely anywhere between: mean and standard deviation of a uniform distribution."""
    return Change((after_ns + until_ns) // 2, round((until_ns - after_ns) / 12**0.5))


def _period(middles_ns: np.ndarray) -> float:
    """Return the period of changes of which some may not have been seen."""
    gaps_ns = np.diff(middles_ns)
    turns = np.maximum(1, np.round(gaps_ns / np.quantile(gaps_ns, SHORT_GAPS)))
    return float(gaps_ns.sum() / turns.sum())
