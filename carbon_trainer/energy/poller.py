"""Reads one source into one curve, looking when something new is to be expected."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import hypot

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.rhythm import Change, Rhythm
from carbon_trainer.energy.source import PowerSource, Reading, SourceInfo, SourceLostError

log = logging.getLogger(__name__)

SHORTEST_WAIT_S = 0.001
UNKNOWN_PERIOD_WAIT_S = 0.004
POWER_WAIT_S = 0.025
"""Power readings change each 20 to 100 ms; twice in the shortest is enough."""

NOTHING_YET_WAIT_S = 0.25
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
DEAREST_GLANCE_S = 0.001
"""Power between two refreshes is looked at so often where steps are as short as a few refreshes,
unless a look costs more than this."""

STILL_S = 5.0
"""A counter that has not moved for so long has stopped: no device draws nothing."""

HELD_BACK = 12
"""As many changes without a period begin the curve all the same."""

SLEPT_S = 5.0
"""Power that was not looked at for longer is unknown; a counter has gone on by itself."""

FIRST_BACK_OFF_S = 1.0
LONGEST_BACK_OFF_S = 30.0
FINISH_S = 0.3
"""How long the end waits for the counter's next change, so that the last step is measured."""

HUNG_READ_S = 5.0
HUNG_OPEN_S = 60.0
"""A call that takes longer than this does not answer; finding devices may take a while."""

TRANSIENT_ERRORS = 3
"""Readings in a row that may fail before a device counts as lost."""


@dataclass(frozen=True, slots=True)
class MeterEvent:
    """Something happened to a device's figures.

    Attributes:
        time_ns: when.
        device: the device's id.
        what: ``lost``, ``back``.
        why: for people.
    """

    time_ns: int
    device: str
    what: str
    why: str

    @property
    def lost(self) -> bool:
        """Whether energy is unknown from now on."""
        return self.what == "lost"


class Poller:
    """One source, one curve. ``poll`` looks once and says when to look again.

    Args:
        source: what to read; opened by the first ``poll``.
        curve: where to.
        clock: the time.
        notify: is told when the device is lost and when it is back.
        step_s: tells how long the steps are whose energy is asked for, seconds; None before any.
    """

    def __init__(
        self,
        source: PowerSource,
        curve: EnergyCurve,
        clock: Clock,
        notify: Callable[[MeterEvent], None],
        step_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.source = source
        self.curve = curve
        self._clock = clock
        self._notify = notify
        self._step_s = step_s
        self._info = source.describe()
        self._opened = False
        self._lost = False
        self._still = False
        self._asked_ns: int | None = None
        self._failures = 0
        self._back_off_s = FIRST_BACK_OFF_S
        self._rhythm = Rhythm()
        self._looked: Reading | None = None
        self._polled_ns = 0
        self._patience_s = 0.0
        self._begun = False
        self._moved_ns: int | None = None
        self._foretold = 0
        self._probing = False
        self._turns = 1
        self._held: Reading | None = None
        self._searching = False
        self._first: list[tuple[Reading, Change]] = []
        self._due_ns = 0
        self._late = False
        self._look_ns = 0
        self._samples: list[tuple[int, int]] = []
        self.read_cost_s = 0.0

    @property
    def refresh_s(self) -> float | None:
        """How often the counter changes, as learnt so far, seconds."""
        period_ns = self._rhythm.period_ns
        return self._info.refresh_s if period_ns is None else period_ns / NS_PER_S

    def describe(self) -> SourceInfo:
        """Return who the source is, with the refresh period as learnt."""
        return dataclasses.replace(self.source.describe(), refresh_s=self.refresh_s)

    def poll(self) -> float:
        """Look once; return how long to wait before the next look, seconds."""
        try:
            if self._opened and self._clock.now_ns() < self._look_ns - NS_PER_S // 2000:
                return self._glance()
            reading = self._read()
        except SourceLostError as error:
            return self._on_lost(str(error))
        except Exception as error:
            log.debug("reading %s", self.source, exc_info=True)
            return self._on_lost(f"{type(error).__name__}: {error}")
        self._failures = 0
        self._patience_s = 0.0
        self._polled_ns = self._clock.now_ns()
        if reading is None:
            return NOTHING_YET_WAIT_S
        if self._lost and not self._still:
            self._on_back(reading)
        wait_s = self._take(reading)
        self._look_ns = self._clock.now_ns() + round(wait_s * NS_PER_S)
        return min(wait_s, self._glance_s())

    def check_hung(self) -> None:
        """Count the device as lost while a call into its driver does not return; any thread."""
        asked_ns = self._asked_ns
        if asked_ns is None or self._lost:
            return
        waited_s = (self._clock.now_ns() - asked_ns) / NS_PER_S
        if waited_s > (HUNG_READ_S if self._opened else HUNG_OPEN_S):
            self._lose(f"its driver has not answered for {waited_s:.0f} s", asked_ns)

    @property
    def patience_s(self) -> float:
        """How much later than asked for a look does as well, seconds."""
        return self._patience_s

    def has_read_past(self, end_ns: int) -> bool:
        """Say whether an instant has been read past, as far as it can be."""
        if not self._opened or self._lost:
            return True
        if not self._info.stepped:
            return self._polled_ns >= end_ns
        return (self.curve.known_until_ns or 0) >= end_ns

    def hurry(self) -> None:
        """Have the next poll read rather than glance."""
        self._look_ns = 0

    def finish(self) -> None:
        """Take the last readings, past the counter's next change, and close the source."""
        end_ns = self._clock.now_ns()
        deadline_ns = end_ns + round(FINISH_S * NS_PER_S)
        while not self.has_read_past(end_ns) and self._clock.now_ns() <= deadline_ns:
            self.hurry()
            self._clock.wait(min(self.poll(), FINISH_S))
        self.close()

    def close(self) -> None:
        """Close the source, which may then tell its last."""
        try:
            self.source.close()
            # A source that gathers in the background knows its end only when it is closed.
            last = self.source.read() if self._opened else None
        except SourceLostError:
            last = None
        except Exception:
            log.debug("closing %s", self.source, exc_info=True)
            last = None
        if last is not None and last.energy_mj is not None:
            self.curve.append(last)

    def _read(self) -> Reading | None:
        self._asked_ns = self._clock.now_ns()
        try:
            if not self._opened:
                self.source.open()
                self._info = self.source.describe()
                self._opened = True
            self._asked_ns = began_ns = self._clock.now_ns()
            reading = self.source.read()
            self.read_cost_s = (self._clock.now_ns() - began_ns) / NS_PER_S
            return reading
        finally:
            self._asked_ns = None

    def _take(self, reading: Reading) -> float:
        if reading.energy_mj is None:
            self._mark_sleep(reading)
            # A uniform window of this length: its standard deviation.
            self.curve.append(reading, jitter_ns=round(reading.window_ns / 12**0.5))
            return max(POWER_WAIT_S, 3 * self.read_cost_s)
        info = self._info
        if not info.stepped:
            self.curve.append(reading)
            return info.refresh_s / 4 if info.refresh_s else NOTHING_YET_WAIT_S
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
        elif reading.time_ns - self._moved_ns > STILL_S * NS_PER_S and not self._lost:
            self._still = True
            self._lose(f"its counter has stood still for {STILL_S:.0f} s", self._moved_ns)
        return self._wait_for_change()

    def _mark_sleep(self, reading: Reading) -> None:
        """Power that nobody looked at for long, as while the machine slept, is not known."""
        before, self._looked = self._looked, reading
        if before is not None and reading.time_ns - before.time_ns > SLEPT_S * NS_PER_S:
            slept_s = (reading.time_ns - before.time_ns) / NS_PER_S
            self._lose(f"nothing could be read for {slept_s:.0f} s", before.time_ns)
            self._on_back(reading)

    def _on_change(self, before: Reading, reading: Reading) -> float:
        if self._still:
            self._still = False
            self._on_back(reading)
        self._moved_ns = reading.time_ns
        after_ns = before.time_ns - before.took_ns // 2
        until_ns = reading.time_ns + reading.took_ns // 2
        if self._searching:
            self._searching = False
            change = self._rhythm.found(after_ns, until_ns)
        else:
            change = self._rhythm.saw(after_ns, until_ns)
        # The counter was read at some moment of the call, and always at the same.
        jitter_ns = round(hypot(change.jitter_ns, reading.took_ns / 2))
        change = Change(change.time_ns, jitter_ns)
        if self._begun:
            self._put(reading, change)
        else:
            self._put_first(before, reading, change)
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
        self.curve.append(
            reading, changed_ns=change.time_ns, jitter_ns=change.jitter_ns, samples=samples
        )

    def _put_first(self, before: Reading, reading: Reading, change: Change) -> None:
        """Hold the first changes back until the period is known.

        Then it is known too when the counter had changed to what was read first, so that the start
        lies within a measured refresh.
        """
        if not self._first:
            self._first.append((before, Change(before.time_ns, 0)))
        self._first.append((reading, change))
        period_ns = self._rhythm.period_ns
        if period_ns is None and len(self._first) < HELD_BACK:
            return
        (start, _), (second, first_change) = self._first[:2]
        if period_ns is not None and second.time_ns - start.time_ns < period_ns:
            at_ns = first_change.time_ns - round(period_ns)
            self._first[0] = start, Change(at_ns, first_change.jitter_ns)
        else:
            del self._first[0]
        self._begun = True
        for held, its_change in self._first:
            self._put(held, its_change)
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
        rest_s = 0.0 if self._rhythm.is_learning else 3 * self.read_cost_s
        return max(SHORTEST_WAIT_S, fine_s - self.read_cost_s, rest_s)

    def _wait_after_change(self, changed_ns: int) -> float:
        period_ns = self._rhythm.period_ns
        if period_ns is None or self._rhythm.is_learning:
            return self._close_look_s()
        if not self._rhythm.is_locked:
            return max(SHORTEST_WAIT_S, ASLEEP_SHARE * period_ns / NS_PER_S - self.read_cost_s)
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
        self._patience_s = max(0.0, period_ns / NS_PER_S - 2 * clear_s)
        return max(SHORTEST_WAIT_S, self._until_due_s() + clear_s)

    def _until_due_s(self) -> float:
        return (self._due_ns - self._clock.now_ns()) / NS_PER_S

    def _guard_s(self) -> float:
        """How far from a foretold change a look is clear of it, seconds."""
        return self._rhythm.window_ns / NS_PER_S + self.read_cost_s / 2

    def _gap_s(self) -> float:
        """How long the device may go unseen, seconds: a part of the steps that are asked for."""
        step_s = self._step_s()
        gap_s = 0.0 if step_s is None else min(step_s / LOOKS_IN_A_STEP, LONGEST_GAP_S)
        return max(gap_s, 4 * self.read_cost_s)

    def _glance_s(self) -> float:
        """How long until power is to be looked at, seconds; for ever where it helps nothing."""
        period_s, step_s = self.refresh_s, self._step_s()
        if not self._rhythm.is_locked or period_s is None or not self._info.glances:
            return float("inf")
        wanted = step_s is None or step_s < LOOKS_IN_A_STEP * period_s
        glance_s = max(GLANCE_SHARE * period_s, SHORTEST_GLANCE_S)
        return glance_s if wanted and glance_s < period_s / 3 else float("inf")

    def _glance(self) -> float:
        began_ns = self._clock.now_ns()
        power_mw = self.source.glance()
        now_ns = self._clock.now_ns()
        if power_mw is not None and now_ns - began_ns < DEAREST_GLANCE_S * NS_PER_S:
            self._samples.append(((began_ns + now_ns) // 2, power_mw))
        left_s = (self._look_ns - now_ns) / NS_PER_S
        return max(SHORTEST_WAIT_S, min(left_s, self._glance_s()))

    def _on_lost(self, why: str) -> float:
        self._failures += 1
        if self._opened and self._failures < TRANSIENT_ERRORS:
            return NOTHING_YET_WAIT_S
        if not self._lost:
            self._lose(why, self._looked.time_ns if self._looked else self._clock.now_ns())
        if self._opened:
            self.source.close()
            self._opened = False
        self._looked = self._moved_ns = self._held = None
        self._still = self._searching = False
        self._samples.clear()
        self._rhythm.forget()
        wait_s, self._back_off_s = self._back_off_s, min(2 * self._back_off_s, LONGEST_BACK_OFF_S)
        return wait_s

    def _lose(self, why: str, since_ns: int) -> None:
        self._lost = True
        self.curve.mark_lost(since_ns)
        device = self.source.describe().device
        self._notify(MeterEvent(self._clock.now_ns(), device, "lost", why))

    def _on_back(self, reading: Reading) -> None:
        self._lost = False
        self._back_off_s = FIRST_BACK_OFF_S
        why = "it answers again"
        self._notify(MeterEvent(reading.time_ns, self.source.describe().device, "back", why))
