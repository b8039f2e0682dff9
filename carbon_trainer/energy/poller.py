"""Reads one source into one curve, when something new is to be expected."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.counter_polling import MIN_WAIT_S, CounterPoller
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.sources.base import PowerSource, Reading, SourceInfo, SourceLostError

log = logging.getLogger(__name__)

POWER_WAIT_S = 0.025
"""Power readings change each 20 to 100 ms; twice in the shortest is enough."""

NO_READING_WAIT_S = 0.25
EARLY_TOLERANCE_NS = NS_PER_S // 2000
MAX_SAMPLE_COST_S = 0.001
"""A sample of power that takes longer belongs to no particular moment."""

STALL_S = 5.0
"""A counter that has not changed for so long has stopped: no device draws zero power."""

SUSPEND_S = 5.0
"""Power that was not read for longer is unknown; a counter has gone on by itself."""

MIN_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0
FINISH_S = 0.3
"""How long the end waits for the counter's next change, so that the last step is measured."""

HUNG_READ_S = 5.0
HUNG_OPEN_S = 60.0
"""A call that takes longer than this does not answer; finding devices may take a while."""

TRANSIENT_ERRORS = 3
"""Readings in a row that may fail before a device counts as lost."""


@dataclass(frozen=True, slots=True)
class MeterEvent:
    """A device was lost or is back.

    Attributes:
        time_ns: when.
        device: the device's id.
        kind: ``lost``, ``back``.
        reason: for people.
    """

    time_ns: int
    device: str
    kind: str
    reason: str

    @property
    def lost(self) -> bool:
        """Whether energy is unknown from now on."""
        return self.kind == "lost"


class Poller:
    """One source, one curve. ``poll`` reads once and returns when to read again.

    Args:
        source: what to read; opened by the first ``poll``.
        curve: where readings go.
        clock: the time.
        notify: called when the device is lost and when it is back.
        step_s: returns the length of the steps whose energy is requested, seconds; None before any.
    """

    __slots__ = (
        "_backoff_s", "_call_start_ns", "_clock", "_counter", "_failures", "_info", "_is_stalled",
        "_last_power_ns", "_last_read_ns", "_lost", "_next_poll_ns", "_notify", "_opened", "curve",
        "read_cost_s", "source",
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
        self._counter = CounterPoller(curve, clock, step_s)
        self._info = source.describe()
        self._opened = False
        self._lost = False
        self._is_stalled = False
        self._call_start_ns: int | None = None
        self._failures = 0
        self._backoff_s = MIN_BACKOFF_S
        self._last_power_ns: int | None = None
        self._last_read_ns = 0
        self._next_poll_ns = 0
        self.read_cost_s = 0.0

    @property
    def refresh_s(self) -> float | None:
        """How often the counter changes, as learnt so far, seconds."""
        return self._counter.refresh_s or self._info.refresh_s

    def describe(self) -> SourceInfo:
        """Return the source's description, with the refresh period as learnt."""
        return dataclasses.replace(self.source.describe(), refresh_s=self.refresh_s)

    def poll(self) -> float:
        """Read once; return how long to wait before the next call, seconds."""
        try:
            # A sleep may end a little early; that must not turn a read into a sample.
            if self._opened and self._clock.now_ns() < self._next_poll_ns - EARLY_TOLERANCE_NS:
                return self._sample_power()
            reading = self._read()
        except SourceLostError as error:
            return self._on_error(str(error))
        except Exception as error:
            log.debug("reading %s", self.source, exc_info=True)
            return self._on_error(f"{type(error).__name__}: {error}")
        self._failures = 0
        self._last_read_ns = self._clock.now_ns()
        if reading is None:
            return NO_READING_WAIT_S
        if self._lost and not self._is_stalled:
            self._mark_recovered(reading)
        wait_s = self._add_reading(reading)
        self._next_poll_ns = self._clock.now_ns() + round(wait_s * NS_PER_S)
        return min(wait_s, self._sample_interval_s())

    def check_hung(self) -> None:
        """Count the device as lost while a call into its driver does not return; any thread.

        The poller's own thread cannot notice, as it is the one that hangs. It writes
        ``_call_start_ns`` and this only reads it, so there is no lock for a hung call to hold.
        """
        call_start_ns = self._call_start_ns
        if call_start_ns is None or self._lost:
            return
        waited_s = (self._clock.now_ns() - call_start_ns) / NS_PER_S
        if waited_s > (HUNG_READ_S if self._opened else HUNG_OPEN_S):
            self._mark_lost(f"its driver has not answered for {waited_s:.0f} s", call_start_ns)

    @property
    def slack_s(self) -> float:
        """How much later than at the returned time a poll does as well, seconds."""
        return self._counter.slack_s

    def has_read_past(self, end_ns: int) -> bool:
        """Return whether an instant has been read past, as far as it can be."""
        # A device that does not answer has no last reading to wait for.
        if not self._opened or self._lost:
            return True
        if not self._info.stepped:
            return self._last_read_ns >= end_ns
        return (self.curve.final_until_ns or 0) >= end_ns

    def force_read(self) -> None:
        """Have the next poll read the source rather than sample its power."""
        self._next_poll_ns = 0

    def finish(self) -> None:
        """Take the last readings, past the counter's next change, and close the source."""
        end_ns = self._clock.now_ns()
        deadline_ns = end_ns + round(FINISH_S * NS_PER_S)
        while not self.has_read_past(end_ns) and self._clock.now_ns() <= deadline_ns:
            self.force_read()
            self._clock.wait(min(self.poll(), FINISH_S))
        self.close()

    def close(self) -> None:
        """Close the source, and take the last reading of one that has it only then."""
        self._counter.flush()
        try:
            self.source.close()
            # A source that measures in the background has its last reading only when closed.
            last = self.source.read() if self._opened else None
        except SourceLostError:
            last = None
        except Exception:
            log.debug("closing %s", self.source, exc_info=True)
            last = None
        if last is not None and last.energy_mj is not None:
            self.curve.append(last)

    def _read(self) -> Reading | None:
        # Opening and reading are timed apart, as only opening may take a minute.
        self._call_start_ns = self._clock.now_ns()
        try:
            if not self._opened:
                self.source.open()
                self._info = self.source.describe()
                self._opened = True
            self._call_start_ns = start_ns = self._clock.now_ns()
            reading = self.source.read()
            self.read_cost_s = (self._clock.now_ns() - start_ns) / NS_PER_S
            return reading
        finally:
            self._call_start_ns = None

    def _add_reading(self, reading: Reading) -> float:
        if reading.energy_mj is None:
            self._mark_suspend(reading)
            # The power is a mean over the window: it may belong to any moment of it, so its instant
            # has the standard deviation of a uniform distribution.
            self.curve.append(reading, jitter_ns=round(reading.window_ns / 12**0.5))
            return max(POWER_WAIT_S, 3 * self.read_cost_s)
        if not self._info.stepped:
            self.curve.append(reading)
            # Such a source has a new reading once per refresh; reading it in between costs nothing.
            refresh_s = self._info.refresh_s
            return refresh_s / 4 if refresh_s else NO_READING_WAIT_S
        wait_s = self._counter.add_reading(reading, self.read_cost_s)
        self._check_stall(reading)
        return wait_s

    def _check_stall(self, reading: Reading) -> None:
        """Count a counter that has stopped as lost, until it changes again."""
        changed_ns = self._counter.last_change_ns
        is_stalled = changed_ns is not None and reading.time_ns - changed_ns > STALL_S * NS_PER_S
        # Dated back to the last change: what the device has used since then was not counted.
        if is_stalled and changed_ns is not None and not self._lost:
            self._is_stalled = True
            self._mark_lost(f"its counter has not changed for {STALL_S:.0f} s", changed_ns)
        elif self._is_stalled and not is_stalled:
            self._is_stalled = False
            self._mark_recovered(reading)

    def _mark_suspend(self, reading: Reading) -> None:
        """Mark power as unknown over a long gap, as while the machine was suspended."""
        previous_ns, self._last_power_ns = self._last_power_ns, reading.time_ns
        if previous_ns is not None and reading.time_ns - previous_ns > SUSPEND_S * NS_PER_S:
            suspended_s = (reading.time_ns - previous_ns) / NS_PER_S
            # Lost and recovered at once, so that the curve has an unknown segment, not a trapezoid.
            self._mark_lost(f"nothing could be read for {suspended_s:.0f} s", previous_ns)
            self._mark_recovered(reading)

    def _sample_interval_s(self) -> float:
        return self._counter.sample_interval_s() if self._info.glances else float("inf")

    def _sample_power(self) -> float:
        """Sample the power between two readings of the counter."""
        start_ns = self._clock.now_ns()
        power_mw = self.source.sample_power()
        now_ns = self._clock.now_ns()
        if power_mw is not None and now_ns - start_ns < MAX_SAMPLE_COST_S * NS_PER_S:
            self._counter.add_sample((start_ns + now_ns) // 2, power_mw)
        remaining_s = (self._next_poll_ns - now_ns) / NS_PER_S
        return max(MIN_WAIT_S, min(remaining_s, self._sample_interval_s()))

    def _on_error(self, reason: str) -> float:
        self._failures += 1
        # A single failure may pass, and a loss would throw away the refresh that was learnt.
        if self._opened and self._failures < TRANSIENT_ERRORS:
            return NO_READING_WAIT_S
        if not self._lost:
            since_ns = self._counter.last_poll_ns or self._last_power_ns or self._clock.now_ns()
            self._mark_lost(reason, since_ns)
        # The next poll opens it again: a handle from before a driver's reload stays invalid.
        if self._opened:
            self.source.close()
            self._opened = False
        self._counter.reset()
        self._last_power_ns = None
        self._is_stalled = False
        wait_s, self._backoff_s = self._backoff_s, min(2 * self._backoff_s, MAX_BACKOFF_S)
        return wait_s

    def _mark_lost(self, reason: str, since_ns: int) -> None:
        self._lost = True
        self.curve.mark_lost(since_ns)
        device = self.source.describe().device
        self._notify(MeterEvent(self._clock.now_ns(), device, "lost", reason))

    def _mark_recovered(self, reading: Reading) -> None:
        self._lost = False
        self._backoff_s = MIN_BACKOFF_S
        device = self.source.describe().device
        self._notify(MeterEvent(reading.time_ns, device, "back", "it answers again"))
