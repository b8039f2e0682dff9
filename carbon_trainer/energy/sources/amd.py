"""AMD GPUs through AMD SMI, by the energy accumulator where it is plausible, else by power."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from carbon_trainer.clock import NS_PER_S, Clock, SystemClock
from carbon_trainer.energy.sources.amd_devices import (
    MOST_W,
    AmdGpu,
    asked,
    card_of,
    count,
    handles,
    load_amdsmi,
    power_mw,
    processors,
    visible,
)
from carbon_trainer.energy.sources.base import (
    Component,
    Method,
    Reading,
    SourceInfo,
    SourceLostError,
)

log = logging.getLogger(__name__)

SENSOR_UNCERTAINTY = 0.05
"""Assumed to be as for NVIDIA's sensors; no measurement of AMD's over several boards is known."""

TRIAL_S = 0.2
TRIAL_LOOK_S = 0.005
MOST_APART = 2.0
"""Counter and power must agree within this factor over the trial. On some cards and drivers the
counter stands still or runs at another pace (ROCm/amdsmi issues 22 and 38)."""


class AmdSource:
    """One card. Which figure it gives is found out by trying, when it is opened.

    Args:
        gpu: which card.
        clock: the time.
    """

    __slots__ = (
        "_amdsmi", "_carried_ticks", "_clock", "_counts", "_gpu", "_handle", "_last", "_why",
    )  # fmt: skip

    def __init__(self, gpu: AmdGpu, clock: Clock | None = None) -> None:
        self._gpu = gpu
        self._clock = clock or SystemClock()
        self._amdsmi: Any = None
        self._handle: Any = None
        self._counts = True
        self._why = ""
        self._last: tuple[int, int] | None = None
        self._carried_ticks = 0

    def open(self) -> None:
        """Find the card, and try its counter against its power for a fifth of a second.

        Raises:
            SourceLostError: if it is not there or tells nothing.
        """
        self._amdsmi = load_amdsmi()
        if self._amdsmi is None:
            raise SourceLostError("AMD SMI is not there any more")
        with self._lost_on_error():
            self._amdsmi.amdsmi_init()
            found = handles(self._amdsmi).get(self._gpu.bdf)
        if not found:
            raise SourceLostError("AMD SMI does not list this device any more")
        self._handle = found[0]
        self._counts, self._why = self._try_counter()

    def read(self) -> Reading | None:
        """Return the counter, or power where the counter is missing or not plausible.

        Raises:
            SourceLostError: if the device does not answer.
        """
        if self._handle is None:
            return None
        before_ns = self._clock.now_ns()
        with self._lost_on_error():
            energy_mj = self._count_mj() if self._counts else None
            power = None if self._counts else power_mw(self._amdsmi, self._handle)
        took_ns = self._clock.now_ns() - before_ns
        if energy_mj is None and power is None:
            raise SourceLostError("AMD SMI tells neither energy nor power of this device any more")
        return Reading(before_ns + took_ns // 2, energy_mj, power, took_ns)

    def glance(self) -> int | None:
        """Return None: many cards tell a mean of their power, not that of the moment."""
        return None

    def describe(self) -> SourceInfo:
        """Say which card this is and which figure it gives."""
        return SourceInfo(
            name="AMD SMI energy counter" if self._counts else "AMD SMI power, integrated",
            component=Component.GPU,
            device=self._gpu.uuid,
            label=self._gpu.label,
            method=Method.MEASURED,
            refresh_s=None,
            uncertainty=SENSOR_UNCERTAINTY,
            stepped=self._counts,
            note="; ".join(note for note in (self._gpu.note, self._why) if note),
        )

    def close(self) -> None:
        """Let go of the device.

        AMD SMI counts no users: its shutdown would take the handles of every other source, and of
        CodeCarbon and PyTorch, so it is left to the end of the process.
        """
        self._handle = None

    def _try_counter(self) -> tuple[bool, str]:
        """Return whether to read the counter, and what a reader must know of that.

        Raises:
            SourceLostError: if the device tells nothing.
        """
        looks = list(self._looks())
        powers = [mw for _, _, mw in looks if mw is not None]
        if looks[0][1] is None:
            if not powers:
                raise SourceLostError("AMD SMI tells neither energy nor power of this device")
            return False, ""
        counted_mw = _counted_mw([(ns, nj) for ns, nj, _ in looks if nj is not None])
        if counted_mw is None:
            if not powers:
                raise SourceLostError("its energy counter stands still and it tells no power")
            return False, f"its energy counter stood still for {TRIAL_S:g} s, so power is used"
        if not powers:
            return True, "its energy counter could not be compared: it tells no power"
        told_mw = sum(powers) / len(powers)
        if told_mw / MOST_APART <= counted_mw <= told_mw * MOST_APART:
            return True, ""
        return False, (
            f"its energy counter ran at {counted_mw / 1000:.0f} W where its power was "
            f"{told_mw / 1000:.0f} W, so power is used"
        )

    def _looks(self) -> Iterator[tuple[int, int | None, int | None]]:
        """Yield instants, energy in nanojoules and power in milliwatts over the trial."""
        amdsmi = self._amdsmi
        until_ns = self._clock.now_ns() + round(TRIAL_S * NS_PER_S)
        while True:
            before_ns = self._clock.now_ns()
            counted = asked(amdsmi, count, amdsmi, self._handle)
            now_ns = (before_ns + self._clock.now_ns()) // 2
            power = asked(amdsmi, power_mw, amdsmi, self._handle)
            yield now_ns, None if counted is None else counted[0] * counted[1], power
            if self._clock.now_ns() >= until_ns:
                return
            self._clock.wait(TRIAL_LOOK_S)

    def _count_mj(self) -> int | None:
        """Return the accumulator in millijoules, unbroken where it has begun anew at its width."""
        counted = count(self._amdsmi, self._handle)
        if counted is None:
            return None
        ticks, tick_nj = counted
        now_ns = self._clock.now_ns()
        if self._last is not None and ticks < self._last[0]:
            most_ticks = MOST_W * (now_ns - self._last[1]) / tick_nj
            self._carried_ticks = self._carried(self._last[0], ticks, most_ticks)
        self._last = ticks, now_ns
        return (self._carried_ticks + ticks) * tick_nj // 1_000_000

    def _carried(self, before: int, now: int, most_ticks: float) -> int:
        """Return the ticks before the last wrap; 0 if a fall is no wrap but a new beginning."""
        for width in (2**32, 2**64):
            if before < width and (now - before) % width <= most_ticks:
                return self._carried_ticks + width
        return 0

    @contextmanager
    def _lost_on_error(self) -> Iterator[None]:
        try:
            yield
        except self._amdsmi.AmdSmiException as error:
            raise SourceLostError(f"AMD SMI: {' '.join(str(error).split())}") from error


def discover_amd_gpus(
    environ: Mapping[str, str] | None = None, clock: Clock | None = None
) -> list[AmdSource]:
    """Return a source for each AMD card that this process may use; none without AMD SMI."""
    amdsmi = load_amdsmi()
    if amdsmi is None:
        log.debug("no AMD SMI")
        return []
    try:
        amdsmi.amdsmi_init()
    except amdsmi.AmdSmiException as error:
        log.debug("no AMD SMI: %s", error)
        return []
    try:
        found = processors(amdsmi)
    except amdsmi.AmdSmiException as error:
        log.warning("AMD SMI is there, but its devices cannot be listed: %s", error)
        return []
    places = visible(os.environ if environ is None else environ, [one.uuid for one in found])
    cards = {card.bdf: card for card in (card_of(found[place], found) for place in places)}
    return [AmdSource(card, clock) for card in cards.values()]


def _counted_mw(looks: list[tuple[int, int]]) -> float | None:
    """Return the power between the first and the last change of a counter; None without two."""
    changes = [now for before, now in pairwise(looks) if now[1] != before[1]]
    if len(changes) < 2:
        return None
    (begin_ns, begin_nj), (end_ns, end_nj) = changes[0], changes[-1]
    return 1000 * (end_nj - begin_nj) / (end_ns - begin_ns)
