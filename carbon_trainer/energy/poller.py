"""Reads one source into one curve, looking when something new is to be expected."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.curve import SLOWEST_REFRESH_NS, EnergyCurve
from carbon_trainer.energy.source import PowerSource, Reading, SourceInfo, SourceLostError

log = logging.getLogger(__name__)

SHORTEST_WAIT_S = 0.001
UNKNOWN_PERIOD_WAIT_S = 0.005
POWER_WAIT_S = 0.025
"""Power readings change each 20 to 100 ms; twice in the shortest is enough."""

NOTHING_YET_WAIT_S = 0.25
PERIODS_LEARNT = 16
ASLEEP_SHARE = 0.85
"""Share of the refresh period that is slept through after a change."""

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
    """

    def __init__(
        self,
        source: PowerSource,
        curve: EnergyCurve,
        clock: Clock,
        notify: Callable[[MeterEvent], None],
    ) -> None:
        self.source = source
        self.curve = curve
        self._clock = clock
        self._notify = notify
        self._opened = False
        self._lost = False
        self._asked_ns: int | None = None
        self._failures = 0
        self._back_off_s = FIRST_BACK_OFF_S
        self._looked_ns: int | None = None
        self._changed_ns: int | None = None
        self._periods: deque[int] = deque(maxlen=PERIODS_LEARNT)
        self.read_cost_s = 0.0

    @property
    def refresh_s(self) -> float | None:
        """How often the counter changes, as learnt so far, seconds."""
        if len(self._periods) < 4:
            return self.source.describe().refresh_s
        return median(self._periods) / NS_PER_S

    def describe(self) -> SourceInfo:
        """Return who the source is, with the refresh period as learnt."""
        return dataclasses.replace(self.source.describe(), refresh_s=self.refresh_s)

    def poll(self) -> float:
        """Look once; return how long to wait before the next look, seconds."""
        try:
            reading = self._read()
        except SourceLostError as error:
            return self._on_lost(str(error))
        except Exception as error:
            log.debug("reading %s", self.source, exc_info=True)
            return self._on_lost(f"{type(error).__name__}: {error}")
        self._failures = 0
        if reading is None:
            return NOTHING_YET_WAIT_S
        if self._lost:
            self._on_back(reading)
        return self._take(reading)

    def check_hung(self) -> None:
        """Count the device as lost while a call into its driver does not return; any thread."""
        asked_ns = self._asked_ns
        if asked_ns is None or self._lost:
            return
        waited_s = (self._clock.now_ns() - asked_ns) / NS_PER_S
        if waited_s > (HUNG_READ_S if self._opened else HUNG_OPEN_S):
            self._lose(f"its driver has not answered for {waited_s:.0f} s", asked_ns)

    def finish(self) -> None:
        """Take the last readings, past the counter's next change, and close the source."""
        end_ns = self._clock.now_ns()
        if self._opened:
            self._poll_past(end_ns)
        try:
            self.source.close()
            # A source that gathers in the background knows its end only when it is closed.
            last = self.source.read() if self._opened else None
        except SourceLostError:
            last = None
        except Exception:
            log.debug("closing %s", self.source, exc_info=True)
            last = None
        if last is not None:
            self.curve.append(last)

    def _read(self) -> Reading | None:
        self._asked_ns = self._clock.now_ns()
        try:
            if not self._opened:
                self.source.open()
                self._opened = True
            self._asked_ns = began_ns = self._clock.now_ns()
            reading = self.source.read()
            self.read_cost_s = (self._clock.now_ns() - began_ns) / NS_PER_S
            return reading
        finally:
            self._asked_ns = None

    def _poll_past(self, end_ns: int) -> None:
        wait_s = self.poll()
        deadline_ns = end_ns + round(FINISH_S * NS_PER_S)
        while self.source.describe().stepped and not self._lost:
            if (self.curve.known_until_ns or 0) >= end_ns or self._clock.now_ns() > deadline_ns:
                return
            self._clock.wait(min(wait_s, FINISH_S))
            wait_s = self.poll()

    def _take(self, reading: Reading) -> float:
        if reading.energy_mj is None:
            self.curve.append(reading)
            return max(POWER_WAIT_S, 3 * self.read_cost_s)
        info = self.source.describe()
        if not info.stepped:
            self.curve.append(reading)
            return info.refresh_s / 4 if info.refresh_s else NOTHING_YET_WAIT_S
        looked_ns, self._looked_ns = self._looked_ns, reading.time_ns
        period_s = self.refresh_s
        period_ns = round(period_s * NS_PER_S) if period_s else SLOWEST_REFRESH_NS
        if self.curve.append(reading, looked_ns=looked_ns, refresh_ns=period_ns):
            self._on_change(reading.time_ns)
            return self._wait_after_change()
        fine_s = period_s / 20 if period_s else UNKNOWN_PERIOD_WAIT_S
        return max(SHORTEST_WAIT_S, fine_s, 3 * self.read_cost_s)

    def _on_change(self, time_ns: int) -> None:
        if self._changed_ns is not None:
            self._periods.append(time_ns - self._changed_ns)
        self._changed_ns = time_ns

    def _wait_after_change(self) -> float:
        if len(self._periods) < PERIODS_LEARNT // 2:
            return max(UNKNOWN_PERIOD_WAIT_S, 3 * self.read_cost_s)
        period_s = median(self._periods) / NS_PER_S
        return max(SHORTEST_WAIT_S, ASLEEP_SHARE * period_s - self.read_cost_s)

    def _on_lost(self, why: str) -> float:
        self._failures += 1
        if self._opened and self._failures < TRANSIENT_ERRORS:
            return NOTHING_YET_WAIT_S
        if not self._lost:
            self._lose(why, self._looked_ns or self._clock.now_ns())
        if self._opened:
            self.source.close()
            self._opened = False
        self._looked_ns = self._changed_ns = None
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
