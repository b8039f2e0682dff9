"""What was turned and what it was before: on disk before anything is set, so it can be put back.

The journal belongs to one process. The guard puts back what a dead process's journal says, and
``carbon-train doctor --restore`` what no guard was left to.
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
    """The journal cannot be written, so nothing may be turned."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One knob that was turned.

    Attributes:
        kind: which knob.
        device: of which device.
        original: what it was before; None where that could not be read.
        ours: what it may stand at if nobody else has turned it.
    """

    kind: str
    device: str
    original: int | None
    ours: tuple[int, ...] = ()

    def about_to_set(self, value: int) -> Entry:
        """Return the entry for just before a value is set: it may stand at either."""
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
        """Replace what it says.

        Raises:
            JournalError: if the disk refuses it.
        """
        document = {
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
        """Say that nothing is turned any more."""
        self.path.unlink(missing_ok=True)


def journal_folder() -> Path:
    """Return where journals lie."""
    return platformdirs.user_state_path("carbon-trainer") / "limits"


def read_entries(path: Path) -> list[Entry]:
    """Return a journal's entries; none where there is no journal."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [
        Entry(one["kind"], one["device"], one["original"], tuple(one["ours"]))
        for one in document["entries"]
    ]


def put_back(path: Path, find: Callable[[str, str], Knob] = knob_of) -> tuple[list[str], list[str]]:
    """Put back what a journal says, except what somebody else has turned since.

    Args:
        path: the journal; it is removed if nothing failed.
        find: finds a knob by kind and device.

    Returns:
        A sentence for each knob that was dealt with, and one for each that failed.
    """
    told, failed = [], []
    for entry in read_entries(path):
        try:
            told.append(put_back_one(find(entry.kind, entry.device), entry))
        except KnobError as error:
            failed.append(f"{entry.device}: the {entry.kind} cannot be put back: {error}")
    if not failed:
        path.unlink(missing_ok=True)
    return told, failed


def put_back_one(knob: Knob, entry: Entry) -> str:
    """Put one knob back unless somebody else has turned it; say what was done.

    Raises:
        KnobError: if it cannot be.
    """
    now = knob.now()
    if now is not None and now == entry.original:
        return f"{entry.device}: the {entry.kind} is what it was, {_text(now, knob)}"
    if now is not None and now not in entry.ours:
        return (
            f"{entry.device}: somebody else has set the {entry.kind} to {_text(now, knob)}; "
            "it is left so"
        )
    knob.put_back(entry.original)
    if entry.original is None:
        return f"{entry.device}: the {entry.kind} are the driver's choice again"
    return f"{entry.device}: the {entry.kind} is {_text(entry.original, knob)} again"


def orphans(folder: Path | None = None) -> Iterator[Path]:
    """Find journals whose process is gone."""
    for path in sorted((folder or journal_folder()).glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            pid, started_s = int(document["pid"]), float(document["started"])
            # Earlier versions recorded no boot, and starts since the epoch: their runs have ended.
            owner = ProcessIdentity(pid, started_s, document.get("boot_id", ""))
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s is no journal of power limits: %s", path, error)
            continue
        if not owner.is_alive():
            yield path


def _text(value: int, knob: Knob) -> str:
    return f"{value / 1000:g} {knob.unit}"
