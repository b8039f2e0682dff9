"""Reads one source into one curve, looking when something new is to be expected."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.counter_polling import SHORTEST_WAIT_S, CounterLooks
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.sources.base import PowerSource, Reading, SourceInfo, SourceLostError

log = logging.getLogger(__name__)

POWER_WAIT_S = 0.025
"""Power readings change each 20 to 100 ms; twice in the shortest is enough."""

NOTHING_YET_WAIT_S = 0.25
EARLY_NS = NS_PER_S // 2000
DEAREST_GLANCE_S = 0.001
"""A glance at power that takes longer does not tell of a moment."""

STILL_S = 5.0
"""A counter that has not moved for so long has stopped: no device draws nothing."""

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

    __slots__ = (
        "_asked_ns", "_back_off_s", "_clock", "_failures", "_info", "_look_ns", "_looks", "_lost",
        "_notify", "_opened", "_polled_ns", "_power_ns", "_still", "curve", "read_cost_s", "source",
    )  # fmt: skip

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
        self._looks = CounterLooks(curve, clock, step_s)
        self._info = source.describe()
        self._opened = False
        self._lost = False
        self._still = False
        self._asked_ns: int | None = None
        self._failures = 0
        self._back_off_s = FIRST_BACK_OFF_S
        self._power_ns: int | None = None
        self._polled_ns = 0
        self._look_ns = 0
        self.read_cost_s = 0.0

    @property
    def refresh_s(self) -> float | None:
        """How often the counter changes, as learnt so far, seconds."""
        return self._looks.refresh_s or self._info.refresh_s

    def describe(self) -> SourceInfo:
        """Return who the source is, with the refresh period as learnt."""
        return dataclasses.replace(self.source.describe(), refresh_s=self.refresh_s)

    def poll(self) -> float:
        """Look once; return how long to wait before the next look, seconds."""
        try:
            if self._opened and self._clock.now_ns() < self._look_ns - EARLY_NS:
                return self._glance()
            reading = self._read()
        except SourceLostError as error:
            return self._on_lost(str(error))
        except Exception as error:
            log.debug("reading %s", self.source, exc_info=True)
            return self._on_lost(f"{type(error).__name__}: {error}")
        self._failures = 0
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
        return self._looks.patience_s

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
        self._looks.flush()
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
        if not self._info.stepped:
            self.curve.append(reading)
            refresh_s = self._info.refresh_s
            return refresh_s / 4 if refresh_s else NOTHING_YET_WAIT_S
        wait_s = self._looks.take(reading, self.read_cost_s)
        self._check_still(reading)
        return wait_s

    def _check_still(self, reading: Reading) -> None:
        """A counter that has stopped tells nothing, until it moves again."""
        moved_ns = self._looks.moved_ns
        is_still = moved_ns is not None and reading.time_ns - moved_ns > STILL_S * NS_PER_S
        if is_still and moved_ns is not None and not self._lost:
            self._still = True
            self._lose(f"its counter has stood still for {STILL_S:.0f} s", moved_ns)
        elif self._still and not is_still:
            self._still = False
            self._on_back(reading)

    def _mark_sleep(self, reading: Reading) -> None:
        """Power that nobody looked at for long, as while the machine slept, is not known."""
        before_ns, self._power_ns = self._power_ns, reading.time_ns
        if before_ns is not None and reading.time_ns - before_ns > SLEPT_S * NS_PER_S:
            slept_s = (reading.time_ns - before_ns) / NS_PER_S
            self._lose(f"nothing could be read for {slept_s:.0f} s", before_ns)
            self._on_back(reading)

    def _glance_s(self) -> float:
        return self._looks.glance_s() if self._info.glances else float("inf")

    def _glance(self) -> float:
        """Look at the power between two looks at the counter."""
        began_ns = self._clock.now_ns()
        power_mw = self.source.glance()
        now_ns = self._clock.now_ns()
        if power_mw is not None and now_ns - began_ns < DEAREST_GLANCE_S * NS_PER_S:
            self._looks.add_sample((began_ns + now_ns) // 2, power_mw)
        left_s = (self._look_ns - now_ns) / NS_PER_S
        return max(SHORTEST_WAIT_S, min(left_s, self._glance_s()))

    def _on_lost(self, why: str) -> float:
        self._failures += 1
        if self._opened and self._failures < TRANSIENT_ERRORS:
            return NOTHING_YET_WAIT_S
        if not self._lost:
            since_ns = self._looks.looked_ns or self._power_ns or self._clock.now_ns()
            self._lose(why, since_ns)
        if self._opened:
            self.source.close()
            self._opened = False
        self._looks.reset()
        self._power_ns = None
        self._still = False
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
