"""The settings that a process changes and their values before, on disk before any is changed.

The journal belongs to one process. The guard restores what a dead process's journal says, and
``carbon-train doctor --restore`` what is left where the guard was killed too.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import platformdirs

from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.files import write_atomic
from carbon_trainer.hardware.process import ProcessIdentity
from carbon_trainer.power.knobs import Knob, KnobError, knob_of

log = logging.getLogger(__name__)


class JournalError(CarbonTrainerError):
    """The journal cannot be written, so nothing may be changed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One knob that was changed.

    Attributes:
        kind: which knob.
        device: of which device.
        original: what it was before; None where that could not be read.
        ours: the values that it may have if nobody else has changed it.
    """

    kind: str
    device: str
    original: int | None
    ours: tuple[int, ...] = ()

    def about_to_set(self, value: int) -> Entry:
        """Return the entry for just before a value is set.

        A process may die before or after the call, so either value is its own.
        """
        return replace(self, ours=(*self.ours[-1:], value))


class Journal:
    """One process's entries, in a file.

    Args:
        path: the file; by default one for this process, in the user's state folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or journal_folder() / f"{os.getpid()}.json"
        self._owner = ProcessIdentity.current()

    def write(self, entries: list[Entry]) -> None:
        """Replace its entries.

        Raises:
            JournalError: if the disk refuses it.
        """
        document = {
            # A process id alone may belong to another process by the time it is read.
            "pid": self._owner.pid,
            "started": self._owner.started_s,
            "boot_id": self._owner.boot_id,
            "entries": [asdict(entry) for entry in entries],
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, json.dumps(document))
        except OSError as error:
            raise JournalError(f"{self.path} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Remove it: nothing is changed any more."""
        self.path.unlink(missing_ok=True)


def journal_folder() -> Path:
    """Return the folder of all journals."""
    return platformdirs.user_state_path("carbon-trainer") / "limits"


def read_entries(path: Path) -> list[Entry]:
    """Return a journal's entries; none where there is no journal."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [
        Entry(record["kind"], record["device"], record["original"], tuple(record["ours"]))
        for record in document["entries"]
    ]


def put_back(path: Path, find: Callable[[str, str], Knob] = knob_of) -> tuple[list[str], list[str]]:
    """Restore what a journal says, except what somebody else has changed since.

    Args:
        path: the journal; it is removed if nothing failed.
        find: finds a knob by kind and device.

    Returns:
        A message for each knob that was handled, and one for each that failed.
    """
    messages, failures = [], []
    for entry in read_entries(path):
        try:
            messages.append(put_back_knob(find(entry.kind, entry.device), entry))
        except KnobError as error:
            failures.append(f"{entry.device}: the {entry.kind} cannot be put back: {error}")
    # What failed stays on record: a later try, as root, may succeed.
    if not failures:
        path.unlink(missing_ok=True)
    return messages, failures


def put_back_knob(knob: Knob, entry: Entry) -> str:
    """Restore one knob unless somebody else has changed it; return a message.

    Raises:
        KnobError: if it cannot be.
    """
    current = knob.now()
    if current is not None and current == entry.original:
        return f"{entry.device}: the {entry.kind} is unchanged, {_text(current, knob)}"
    if current is not None and current not in entry.ours:
        return (
            f"{entry.device}: somebody else has set the {entry.kind} to {_text(current, knob)}; "
            "it is left unchanged"
        )
    knob.put_back(entry.original)
    if entry.original is None:
        return f"{entry.device}: the {entry.kind} are the driver's default again"
    return f"{entry.device}: the {entry.kind} is {_text(entry.original, knob)} again"


def orphans(folder: Path | None = None) -> Iterator[Path]:
    """Yield the journals of processes that have ended."""
    for path in sorted((folder or journal_folder()).glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            pid, started_s = int(document["pid"]), float(document["started"])
            # Earlier versions recorded no boot, and starts since the epoch: their runs have ended.
            owner = ProcessIdentity(pid, started_s, document.get("boot_id", ""))
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s is not a journal of power limits: %s", path, error)
            continue
        if not owner.is_alive():
            yield path


def _text(value: int, knob: Knob) -> str:
    return f"{value / 1000:g} {knob.unit}"
