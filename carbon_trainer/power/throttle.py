"""Throttles a machine's GPUs and restores them, by the best mechanism that it permits."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from carbon_trainer.power.guard import start_guard
from carbon_trainer.power.journal import Entry, Journal, JournalError, put_back_knob
from carbon_trainer.power.knobs import CLOCKS, POWER_LIMIT, Knob, KnobError, knob_of

log = logging.getLogger(__name__)

Mechanism = Literal["auto", "power-limit", "clocks", "duty-cycle", "off"]
DUTY_CYCLE = "duty-cycle"

POWER_FRACTIONS: dict[str, tuple[float, ...]] = {
    POWER_LIMIT: (1.0, 0.85, 0.7, 0.55, 0.4),
    CLOCKS: (1.0, 0.85, 0.7, 0.55, 0.4),
    DUTY_CYCLE: (1.0, 0.75, 0.5, 0.25),
}
"""The settings whose power and speed are measured, as fractions of the one before the run."""

REMEDY = {
    POWER_LIMIT: "run as root, or give the user CAP_SYS_ADMIN",
    CLOCKS: "run as root, or have an administrator run nvidia-smi -acp UNRESTRICTED",
}


class Throttle:
    """Sets all GPUs of a process alike. Where none can be set, steps are spaced out instead.

    Args:
        devices: the GPUs' UUIDs.
        mechanism: how; ``auto`` takes the first that is permitted.
        say: takes a message for the user and the record.
        journal: where changes are written before they are made.
        find: finds a knob by kind and device.

    Attributes:
        mechanism: how it is done: ``power-limit``, ``clocks`` or ``duty-cycle``.
        power_fraction: the current setting, as a fraction of the one before the run.
    """

    def __init__(
        self,
        devices: Sequence[str],
        *,
        mechanism: Mechanism = "auto",
        say: Callable[[str], None],
        journal: Journal | None = None,
        find: Callable[[str, str], Knob] = knob_of,
    ) -> None:
        self._say = say
        self._find = find
        self._journal = journal or Journal()
        self._guard: subprocess.Popen[bytes] | None = None
        self._knobs: dict[str, Knob] = {}
        self._entries: dict[str, Entry] = {}
        self._pid = os.getpid()
        self.power_fraction = 1.0
        self.mechanism = self._choose(devices, mechanism)

    @property
    def power_fractions(self) -> tuple[float, ...]:
        """The settings worth measuring, the full one first."""
        return POWER_FRACTIONS[self.mechanism]

    def text(self, power_fraction: float) -> str:
        """Return a setting for people: ``490 W`` or ``50 % duty cycle``."""
        if not self._knobs:
            return f"{power_fraction:.0%} duty cycle"
        knob = next(iter(self._knobs.values()))
        return f"{self._value(knob, power_fraction) / 1000:.0f} {knob.unit}"

    def apply(self, power_fraction: float) -> None:
        """Set every GPU to a fraction of its setting before the run; failures are only reported.

        Args:
            power_fraction: above 0, up to 1.
        """
        if power_fraction == self.power_fraction:
            return
        self.power_fraction = power_fraction
        if not self._knobs:
            return
        # An administrator's setting is never overwritten, nor restored over.
        self._release_overridden()
        values = self._values(power_fraction)
        try:
            # First of all, so that a run that is killed in between leaves a record to restore from.
            self._write_journal(values)
        except JournalError as error:
            self._say(f"power is not changed, as the settings before could not be stored: {error}")
            self._knobs = {}
            return
        for device, value in values.items():
            knob = self._knobs[device]
            try:
                knob.set(value)
                self._record_current(device, knob)
            except KnobError as error:
                self._say(f"{device}: the {knob.kind} cannot be changed any more: {error}")

    def pause_between_steps_s(self, step_s: float) -> float:
        """Return how long to wait after a step, seconds; 0 unless steps are spaced out.

        Args:
            step_s: how long the step took.
        """
        if self.mechanism != DUTY_CYCLE or self.power_fraction >= 1:
            return 0.0
        # A step's time is a fraction of step and pause, so mean power falls by about that fraction.
        return step_s * (1 / self.power_fraction - 1)

    def restore(self) -> None:
        """Restore everything; may be called again. Acts only in the process that made it.

        A forked data loader inherits this object, and must not restore its parent's limits.
        """
        if os.getpid() != self._pid or not self._entries:
            return
        has_failed = False
        for device, entry in self._entries.items():
            try:
                log.debug("%s", put_back_knob(self._find(entry.kind, device), entry))
            except KnobError as error:
                has_failed = True
                self._say(f"{device}: the {entry.kind} cannot be put back: {error}")
        self._entries, self.power_fraction = {}, 1.0
        if not has_failed:
            self._journal.remove()
        guard, self._guard = self._guard, None
        if guard is not None and not has_failed:
            # The guard polls twice a second and ends once the journal is gone. It is waited for, so
            # that no zombie stays, but not by training.
            threading.Thread(target=guard.wait, name="guard", daemon=True).start()

    # Inside

    def _choose(self, devices: Sequence[str], mechanism: Mechanism) -> str:
        mechanisms = (POWER_LIMIT, CLOCKS) if mechanism == "auto" else (mechanism,)
        for kind in mechanisms:
            if kind not in (POWER_LIMIT, CLOCKS) or not devices:
                continue
            knobs = {device: self._find(kind, device) for device in devices}
            error = self._probe(knobs)
            if error is None:
                self._knobs = knobs
                return kind
            remedy = f": {REMEDY[kind]}" if error.forbidden else ""
            self._say(
                f"the GPUs' {kind} cannot be set ({error}){remedy}; the next mechanism is tried"
            )
        return DUTY_CYCLE

    def _probe(self, knobs: dict[str, Knob]) -> KnobError | None:
        """Try each knob by setting it to its current value, which changes nothing.

        Permission is seen only in a set: reading works for everybody.
        """
        for knob in knobs.values():
            try:
                current = knob.now()
                maximum = knob.range()[1]
                if current is None:
                    # A clock's lock cannot be read; a lock at the maximum limits nothing.
                    knob.set(maximum)
                    knob.put_back(None)
                else:
                    knob.set(current)
            except KnobError as error:
                return error
        return None

    def _values(self, power_fraction: float) -> dict[str, int]:
        values = {}
        for device, knob in self._knobs.items():
            try:
                values[device] = self._value(knob, power_fraction)
            except KnobError as error:
                self._say(f"{device}: the {knob.kind} cannot be changed any more: {error}")
        return values

    def _value(self, knob: Knob, power_fraction: float) -> int:
        minimum, maximum = knob.range()
        entry = self._entries.get(knob.device)
        full = (entry.original if entry else knob.now()) or maximum
        # Drivers take whole watts and megahertz.
        value = full if power_fraction >= 1 else round(power_fraction * full / 1000) * 1000
        return max(minimum, min(maximum, value))

    def _release_overridden(self) -> None:
        """Release the devices that somebody else has set since."""
        for device, entry in list(self._entries.items()):
            knob = self._knobs.get(device)
            try:
                current = knob.now() if knob else None
            except KnobError as error:
                log.debug("%s: %s", device, error)
                continue
            if current is not None and entry.ours and current not in (*entry.ours, entry.original):
                self._say(
                    f"{device}: somebody else has set the {entry.kind} to {current / 1000:g}; "
                    "it is left alone from here on"
                )
                del self._knobs[device]
                del self._entries[device]

    def _write_journal(self, values: dict[str, int]) -> None:
        """Write what is about to be set to the journal, and start the guard."""
        entries = dict(self._entries)
        for device, value in values.items():
            knob = self._knobs[device]
            entry = entries.get(device) or Entry(knob.kind, device, knob.now())
            entries[device] = entry.about_to_set(value)
        self._journal.write(list(entries.values()))
        self._entries = entries
        if self._guard is None:
            self._guard = start_guard(self._journal.path)

    def _record_current(self, device: str, knob: Knob) -> None:
        """Record the value that the driver made of ours, which it may have rounded."""
        current = knob.now()
        entry = self._entries[device]
        if current is not None and current not in entry.ours:
            self._entries[device] = entry.about_to_set(current)
            self._journal.write(list(self._entries.values()))
