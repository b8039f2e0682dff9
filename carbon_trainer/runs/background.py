"""What a run's session does beside training, in a thread: intervals, events, heartbeat.

It never waits for a disk with training waiting for it, and never raises: what goes wrong becomes a
gap in the record.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.heartbeat import FILE_NAME as HEARTBEAT_FILE
from carbon_trainer.energy.heartbeat import Heartbeat, write_heartbeat
from carbon_trainer.energy.meter import MeteredInterval
from carbon_trainer.energy.poller import MeterEvent
from carbon_trainer.hardware import machine
from carbon_trainer.hardware.process import ProcessIdentity, pid_space
from carbon_trainer.ledger.facts import Decision, MachineDescribed
from carbon_trainer.runs.facts import interval_recorded, machine_described

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
"""How often the recorder polls the meter, seconds."""

LONGEST_INTERVAL_S = 60.0
"""Longest interval of energy in the record, seconds."""


class BackgroundRecorder:
    """Records what the meter learns while a run goes on.

    Args:
        session: the run.
        first_seq: number of the ledger's last record before this segment.
    """

    def __init__(self, session: RunSession[Any], first_seq: int) -> None:
        self._session = session
        self._first_seq = first_seq
        self._started_ns = session.clock.now_ns()
        self._last_flush_ns = self._started_ns
        self._process = ProcessIdentity.current()
        self._machine: MachineDescribed | None = None
        self._is_closing = threading.Event()
        self._flush_lock = threading.Lock()
        self._heartbeat_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Write the first heartbeat, and go on in a thread."""
        self.write_heartbeat()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and record what the stopped meter knows."""
        self._is_closing.set()
        self._thread.join(timeout=10)
        self.flush_intervals(final=True)

    def write_heartbeat(self, *, closed: bool = False) -> None:
        """Write down how far metering has come, should this process be killed.

        Args:
            closed: the run is closed, and its last records are in no file yet.
        """
        session = self._session
        heartbeat = Heartbeat(
            session.run_id, machine.host_name(), self._process.boot_id, pid_space(),
            self._process.pid, self._process.started_s, session.clock.now_ns(),
            session.meter.snapshots(), self._first_seq, closed,
        )  # fmt: skip
        try:
            with self._heartbeat_lock:
                write_heartbeat(session.run_dir / HEARTBEAT_FILE, heartbeat)
        except OSError as error:
            why = f"no heartbeat can be written: {error.strerror}"
            session.record_gap("energy of a crash", why)

    def remove_heartbeat(self) -> None:
        """The run is closed and recorded: there is nothing to recover."""
        (self._session.run_dir / HEARTBEAT_FILE).unlink(missing_ok=True)

    def flush_intervals(self, *, final: bool = False) -> None:
        """Record the intervals of energy that have become known.

        Args:
            final: up to the meter's stop, with what had to be extrapolated.
        """
        with self._flush_lock:
            self._record_events()
            self._describe_machine()
            self.record_intervals(self._session.meter.drain_intervals(final=final))
            self._last_flush_ns = self._session.clock.now_ns()

    def record_intervals(self, intervals: Iterable[MeteredInterval]) -> None:
        """Record intervals of energy, of this machine or of another."""
        session = self._session
        for interval in intervals:
            session.record(interval_recorded(interval, session.tokens_per_step))

    def record_events(self, events: Iterable[MeterEvent], where: str) -> None:
        """Record what has happened to devices.

        Args:
            events: losses and returns.
            where: the machine, as a prefix; empty for this one.
        """
        session = self._session
        for event in events:
            if event.lost:
                session.record_gap(f"{where}{event.device}: {event.kind}", event.reason)
                session.meter_loss = f"{where}{event.device}: {event.reason}"
            else:
                session.meter_loss = None
                decision = f"{where}{event.device}: {event.kind}"
                session.record(Decision(decision=decision, why=event.reason))

    # The thread

    def _run(self) -> None:
        session = self._session
        while not self._is_closing.wait(self._poll_interval_s()):
            try:
                self._record_events()
                self.write_heartbeat()
                session.follow_intensity()
                if session.clock.now_ns() - self._last_flush_ns >= self._interval_ns():
                    self.flush_intervals()
            except Exception as error:
                log.debug("recorder", exc_info=True)
                session.record_gap("energy records", f"{type(error).__name__}: {error}")

    def _poll_interval_s(self) -> float:
        """Poll often until devices have been read: before, a kill would leave nothing to recover.

        A device that is never read does not keep it so for long.
        """
        devices = self._session.meter.snapshots()
        are_read = devices and all(
            device.known_ns > device.start_ns
            and (device.counter_mj is not None or device.component != "gpu")
            for device in devices
        )
        is_young = self._age_s() < 5 * POLL_INTERVAL_S
        return POLL_INTERVAL_S / 10 if is_young and not are_read else POLL_INTERVAL_S

    def _interval_ns(self) -> int:
        """Short intervals while a run is young, so that its charts have points; then longer."""
        length_s = min(max(self._age_s() / 200, POLL_INTERVAL_S), LONGEST_INTERVAL_S)
        return round(length_s * NS_PER_S)

    def _age_s(self) -> float:
        return (self._session.clock.now_ns() - self._started_ns) / NS_PER_S

    def _record_events(self) -> None:
        self.record_events(self._session.meter.events(), "")

    def _describe_machine(self) -> None:
        description = machine_described(self._session.meter.summary())
        if _sources_of(description) != _sources_of(self._machine):
            self._machine = description
            self._session.record(description)


def _sources_of(description: MachineDescribed | None) -> list[dict[str, Any]] | None:
    """Return the devices, without their refresh, which is measured all the time."""
    if description is None:
        return None
    return [{k: v for k, v in row.items() if k != "refresh_s"} for row in description.sources]
