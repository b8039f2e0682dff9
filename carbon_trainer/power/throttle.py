"""Turns a machine's GPUs down and up again, by the best mechanism that it permits."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from carbon_trainer.power.guard import start_guard
from carbon_trainer.power.journal import Entry, Journal, JournalError, put_back_one
from carbon_trainer.power.knobs import CLOCKS, POWER_LIMIT, Knob, KnobError, knob_of

log = logging.getLogger(__name__)

Mechanism = Literal["auto", "power-limit", "clocks", "duty-cycle", "off"]
DUTY_CYCLE = "duty-cycle"

POWER_FRACTIONS: dict[str, tuple[float, ...]] = {
    POWER_LIMIT: (1.0, 0.85, 0.7, 0.55, 0.4),
    CLOCKS: (1.0, 0.85, 0.7, 0.55, 0.4),
    DUTY_CYCLE: (1.0, 0.75, 0.5, 0.25),
}
"""The settings whose power and speed are measured, as fractions of the one that was found."""

REMEDY = {
    POWER_LIMIT: "run as root, or give the user CAP_SYS_ADMIN",
    CLOCKS: "run as root, or have an administrator run nvidia-smi -acp UNRESTRICTED",
}


class Throttle:
    """Sets all of a process's GPUs alike. Where no GPU can be set, steps are spaced out instead.

    Args:
        devices: the GPUs' UUIDs.
        mechanism: how; ``auto`` takes the first that is permitted.
        say: takes a sentence for the user and the record.
        journal: where it is written what was turned.
        find: finds a knob by kind and device.

    Attributes:
        mechanism: how it is done: ``power-limit``, ``clocks`` or ``duty-cycle``.
        power_fraction: the present setting, as a fraction of what was found.
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
        """The settings worth measuring, the one that was found first."""
        return POWER_FRACTIONS[self.mechanism]

    def text(self, power_fraction: float) -> str:
        """Return a setting for people: ``490 W`` or ``50 % duty cycle``."""
        if not self._knobs:
            return f"{power_fraction:.0%} duty cycle"
        knob = next(iter(self._knobs.values()))
        return f"{self._value(knob, power_fraction) / 1000:.0f} {knob.unit}"

    def apply(self, power_fraction: float) -> None:
        """Set every GPU to a fraction of what was found; never fails, what cannot be set is said.

        Args:
            power_fraction: above 0, up to 1.
        """
        if power_fraction == self.power_fraction:
            return
        self.power_fraction = power_fraction
        if not self._knobs:
            return
        self._leave_to_others()
        values = self._values(power_fraction)
        try:
            self._announce(values)
        except JournalError as error:
            self._say(f"power is not changed, as what was found could not be kept: {error}")
            self._knobs = {}
            return
        for device, value in values.items():
            knob = self._knobs[device]
            try:
                knob.set(value)
                self._note_what_stands(device, knob)
            except KnobError as error:
                self._say(f"{device}: the {knob.kind} cannot be changed any more: {error}")

    def pause_between_steps_s(self, step_s: float) -> float:
        """Return how long to wait after a step, seconds; 0 unless steps are spaced out.

        Args:
            step_s: how long the step took.
        """
        if self.mechanism != DUTY_CYCLE or self.power_fraction >= 1:
            return 0.0
        return step_s * (1 / self.power_fraction - 1)

    def restore(self) -> None:
        """Put everything back; may be called again, and only does so in its own process."""
        if os.getpid() != self._pid or not self._entries:
            return
        failed = False
        for device, entry in self._entries.items():
            try:
                log.debug("%s", put_back_one(self._find(entry.kind, device), entry))
            except KnobError as error:
                failed = True
                self._say(f"{device}: the {entry.kind} cannot be put back: {error}")
        self._entries, self.power_fraction = {}, 1.0
        if not failed:
            self._journal.remove()
        guard, self._guard = self._guard, None
        if guard is not None and not failed:
            # It looks for the journal twice a second, and ends once that is gone.
            threading.Thread(target=guard.wait, name="guard", daemon=True).start()

    # Inside

    def _choose(self, devices: Sequence[str], mechanism: Mechanism) -> str:
        wanted = (POWER_LIMIT, CLOCKS) if mechanism == "auto" else (mechanism,)
        for kind in wanted:
            if kind not in (POWER_LIMIT, CLOCKS) or not devices:
                continue
            knobs = {device: self._find(kind, device) for device in devices}
            refused = self._refused(knobs)
            if refused is None:
                self._knobs = knobs
                return kind
            remedy = f": {REMEDY[kind]}" if refused.forbidden else ""
            self._say(
                f"the GPUs' {kind} cannot be set ({refused}){remedy}; the next mechanism is tried"
            )
        return DUTY_CYCLE

    def _refused(self, knobs: dict[str, Knob]) -> KnobError | None:
        """Try each knob by setting it to what it stands at, which changes nothing."""
        for knob in knobs.values():
            try:
                stands = knob.now()
                most = knob.range()[1]
                if stands is None:
                    # A clock's lock cannot be read: a lock at the top is none.
                    knob.set(most)
                    knob.put_back(None)
                else:
                    knob.set(stands)
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
        least, most = knob.range()
        entry = self._entries.get(knob.device)
        full = (entry.original if entry else knob.now()) or most
        # Drivers take whole watts and megahertz.
        return max(
            least,
            min(most, full if power_fraction >= 1 else round(power_fraction * full / 1000) * 1000),
        )

    def _leave_to_others(self) -> None:
        """Let go of devices that somebody else has set since."""
        for device, entry in list(self._entries.items()):
            knob = self._knobs.get(device)
            try:
                stands = knob.now() if knob else None
            except KnobError as error:
                log.debug("%s: %s", device, error)
                continue
            if stands is not None and entry.ours and stands not in (*entry.ours, entry.original):
                self._say(
                    f"{device}: somebody else has set the {entry.kind} to {stands / 1000:g}; "
                    "it is left so from here on"
                )
                del self._knobs[device]
                del self._entries[device]

    def _announce(self, values: dict[str, int]) -> None:
        """Write down what is about to be set, and have the guard in place."""
        entries = dict(self._entries)
        for device, value in values.items():
            knob = self._knobs[device]
            known = entries.get(device) or Entry(knob.kind, device, knob.now())
            entries[device] = known.about_to_set(value)
        self._journal.write(list(entries.values()))
        self._entries = entries
        if self._guard is None:
            self._guard = start_guard(self._journal.path)

    def _note_what_stands(self, device: str, knob: Knob) -> None:
        """A driver may round: what it made of the value is ours too."""
        stands = knob.now()
        entry = self._entries[device]
        if stands is not None and stands not in entry.ours:
            self._entries[device] = entry.about_to_set(stands)
            self._journal.write(list(self._entries.values()))
