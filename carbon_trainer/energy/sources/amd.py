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
    MAX_POWER_W,
    AmdGpu,
    card_of,
    energy_count,
    handles_by_bdf,
    list_processors,
    load_amdsmi,
    power_mw,
    query,
    visible_indices,
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
TRIAL_INTERVAL_S = 0.005
MAX_RATIO = 2.0
"""Counter and power must agree within this factor over the trial. On some cards and drivers the
counter does not change or has a wrong resolution (ROCm/amdsmi issues 22 and 38)."""


class AmdSource:
    """One card. Which figure it gives is decided by a trial when it is opened.

    Args:
        gpu: which card.
        clock: the time.
    """

    __slots__ = (
        "_amdsmi", "_clock", "_counter_note", "_gpu", "_handle", "_has_counter", "_last_count",
        "_wrapped_ticks",
    )  # fmt: skip

    def __init__(self, gpu: AmdGpu, clock: Clock | None = None) -> None:
        self._gpu = gpu
        self._clock = clock or SystemClock()
        self._amdsmi: Any = None
        self._handle: Any = None
        self._has_counter = True
        self._counter_note = ""
        self._last_count: tuple[int, int] | None = None
        self._wrapped_ticks = 0

    def open(self) -> None:
        """Find the card, and compare its counter with its power for a fifth of a second.

        Raises:
            SourceLostError: if it is not there or reports nothing.
        """
        self._amdsmi = load_amdsmi()
        if self._amdsmi is None:
            raise SourceLostError("AMD SMI is not there any more")
        with self._lost_on_error():
            self._amdsmi.amdsmi_init()
            handles = handles_by_bdf(self._amdsmi).get(self._gpu.bdf)
        if not handles:
            raise SourceLostError("AMD SMI does not list this device any more")
        self._handle = handles[0]
        self._has_counter, self._counter_note = self._try_counter()

    def read(self) -> Reading | None:
        """Return the counter, or power where the counter is missing or not plausible.

        Raises:
            SourceLostError: if the device does not answer.
        """
        if self._handle is None:
            return None
        start_ns = self._clock.now_ns()
        with self._lost_on_error():
            energy_mj = self._count_mj() if self._has_counter else None
            power = None if self._has_counter else power_mw(self._amdsmi, self._handle)
        latency_ns = self._clock.now_ns() - start_ns
        if energy_mj is None and power is None:
            raise SourceLostError(
                "AMD SMI reports neither energy nor power of this device any more"
            )
        return Reading(start_ns + latency_ns // 2, energy_mj, power, latency_ns)

    def sample_power(self) -> int | None:
        """Return None: many cards report their mean power, not that of the moment."""
        return None

    def describe(self) -> SourceInfo:
        """Return which card this is and which figure it gives."""
        return SourceInfo(
            name="AMD SMI energy counter" if self._has_counter else "AMD SMI power, integrated",
            component=Component.GPU,
            device=self._gpu.uuid,
            label=self._gpu.label,
            method=Method.MEASURED,
            refresh_s=None,
            uncertainty=SENSOR_UNCERTAINTY,
            stepped=self._has_counter,
            note="; ".join(note for note in (self._gpu.note, self._counter_note) if note),
        )

    def close(self) -> None:
        """Release the device.

        AMD SMI does not count its users: shutting it down would invalidate the handles of every
        other source, of CodeCarbon and of PyTorch, so that is left to the end of the process.
        """
        self._handle = None

    def _try_counter(self) -> tuple[bool, str]:
        """Return whether to read the counter, and a note on why.

        Raises:
            SourceLostError: if the device reports nothing.
        """
        samples = list(self._trial_samples())
        powers_mw = [mw for _, _, mw in samples if mw is not None]
        if samples[0][1] is None:
            if not powers_mw:
                raise SourceLostError("AMD SMI reports neither energy nor power of this device")
            return False, ""
        counted_mw = _counted_mw([(ns, nj) for ns, nj, _ in samples if nj is not None])
        if counted_mw is None:
            if not powers_mw:
                raise SourceLostError("its energy counter does not change and it reports no power")
            return False, f"its energy counter did not change for {TRIAL_S:g} s, so power is used"
        if not powers_mw:
            return True, "its energy counter could not be compared: it reports no power"
        mean_mw = sum(powers_mw) / len(powers_mw)
        if mean_mw / MAX_RATIO <= counted_mw <= mean_mw * MAX_RATIO:
            return True, ""
        return False, (
            f"its energy counter ran at {counted_mw / 1000:.0f} W where its power was "
            f"{mean_mw / 1000:.0f} W, so power is used"
        )

    def _trial_samples(self) -> Iterator[tuple[int, int | None, int | None]]:
        """Yield instants, energy in nanojoules and power in milliwatts over the trial."""
        amdsmi = self._amdsmi
        until_ns = self._clock.now_ns() + round(TRIAL_S * NS_PER_S)
        while True:
            start_ns = self._clock.now_ns()
            count = query(amdsmi, energy_count, amdsmi, self._handle)
            time_ns = (start_ns + self._clock.now_ns()) // 2
            power = query(amdsmi, power_mw, amdsmi, self._handle)
            yield time_ns, None if count is None else count[0] * count[1], power
            if self._clock.now_ns() >= until_ns:
                return
            self._clock.wait(TRIAL_INTERVAL_S)

    def _count_mj(self) -> int | None:
        """Return the accumulator in millijoules, continued where it has wrapped at its width."""
        count = energy_count(self._amdsmi, self._handle)
        if count is None:
            return None
        ticks, tick_nj = count
        now_ns = self._clock.now_ns()
        if self._last_count is not None and ticks < self._last_count[0]:
            max_ticks = MAX_POWER_W * (now_ns - self._last_count[1]) / tick_nj
            self._wrapped_ticks = self._ticks_before(self._last_count[0], ticks, max_ticks)
        self._last_count = ticks, now_ns
        return (self._wrapped_ticks + ticks) * tick_nj // 1_000_000

    def _ticks_before(self, previous: int, ticks: int, max_ticks: float) -> int:
        """Return the ticks before the last wrap; 0 if the counter was reset instead."""
        # A wrap leaves a plausible difference, modulo the width; a reset most likely does not. The
        # width differs between cards and drivers and is not reported, so both are tried.
        for width in (2**32, 2**64):
            if previous < width and (ticks - previous) % width <= max_ticks:
                return self._wrapped_ticks + width
        return 0

    @contextmanager
    def _lost_on_error(self) -> Iterator[None]:
        try:
            yield
        except self._amdsmi.AmdSmiException as error:
            # Its messages have several lines.
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
        processors = list_processors(amdsmi)
    except amdsmi.AmdSmiException as error:
        log.warning("AMD SMI is there, but its devices cannot be listed: %s", error)
        return []
    indices = visible_indices(
        os.environ if environ is None else environ, [processor.uuid for processor in processors]
    )
    # Several visible processors may be parts of one card, which is metered once.
    cards = [card_of(processors[index], processors) for index in indices]
    return [AmdSource(card, clock) for card in {card.bdf: card for card in cards}.values()]


def _counted_mw(counts: list[tuple[int, int]]) -> float | None:
    """Return the power between the first and the last change of a counter; None without two."""
    # From change to change: the counter had its first and last value for an unknown time.
    changes = [count for previous, count in pairwise(counts) if count[1] != previous[1]]
    if len(changes) < 2:
        return None
    (begin_ns, begin_nj), (end_ns, end_nj) = changes[0], changes[-1]
    return 1000 * (end_nj - begin_nj) / (end_ns - begin_ns)
