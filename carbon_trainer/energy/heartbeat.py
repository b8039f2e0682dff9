"""The state of metering, on disk each second, so that a killed run's energy can be recovered."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from carbon_trainer.files import write_atomic

FILE_NAME = "meter.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """How far one device had been metered.

    Attributes:
        device: its id.
        component: which part of the machine it is.
        method: how its figures are obtained.
        start_ns: when its metering began.
        known_ns: up to when its energy was known.
        energy_mj: its energy from the one to the other.
        power_mw: its last power.
        peak_mw: its highest recent power.
        counter_mj: its own counter at ``known_ns``; None where it has none.
    """

    device: str
    component: str
    method: str
    start_ns: int
    known_ns: int
    energy_mj: int
    power_mw: int
    peak_mw: int
    counter_mj: int | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Which process meters a run, and how far it had come. The fields are the file's keys.

    Attributes:
        run_id: the run.
        host: the machine's name.
        boot_id: distinguishes one boot of the machine from another.
        pid_space: distinguishes one container's process ids from another's.
        pid: the process.
        process_started: when that process began, seconds since the boot: ids are used again.
        time_ns: when this was written.
        positions: a snapshot of each device.
        since_seq: the run's last record before this process's own.
        closed: whether metering has ended properly, and only the disk refused the records.
    """

    run_id: str
    host: str
    boot_id: str
    pid_space: str
    pid: int
    process_started: float
    time_ns: int
    positions: tuple[DeviceSnapshot, ...]
    since_seq: int = 0
    closed: bool = False


def write_heartbeat(path: Path, beat: Heartbeat) -> None:
    """Replace the heartbeat before, atomically.

    It must survive the process, not a power cut, so it need not be forced onto the disk.

    Raises:
        OSError: if the folder cannot be written.
    """
    document = {"version": VERSION, **asdict(beat)}
    write_atomic(path, json.dumps(document), durable=False)


def read_heartbeat(path: Path) -> Heartbeat:
    """Read a heartbeat.

    Raises:
        OSError: if it cannot be read.
        ValueError: if the file is not a heartbeat, or of an unknown version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("version") != VERSION:
            raise ValueError("its version is not known")
        snapshots = tuple(DeviceSnapshot(**row) for row in document.pop("positions"))
        return Heartbeat(**document, positions=snapshots)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a heartbeat: {error}") from error
