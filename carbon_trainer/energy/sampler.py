"""A thread for each source, so that a driver that hangs holds nothing else up."""

from __future__ import annotations

import threading
import time

from carbon_trainer.clock import Clock
from carbon_trainer.energy.poller import Poller

JOIN_S = 5.0
"""How long the end waits for a source that does not answer, seconds, for all together."""


class Sampler:
    """Runs pollers until it is stopped.

    Args:
        clock: waits between looks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._threads: list[tuple[Poller, threading.Thread]] = []

    def add(self, poller: Poller) -> None:
        """Start to run a poller."""
        name = f"sampler {poller.source.describe().device}"
        thread = threading.Thread(target=self._run, args=(poller,), name=name, daemon=True)
        self._threads.append((poller, thread))
        thread.start()

    def stop(self) -> list[Poller]:
        """Have every poller take its last reading; return those that did not answer in time."""
        self._stopping.set()
        deadline_s = time.monotonic() + JOIN_S
        for _, thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return [poller for poller, thread in self._threads if thread.is_alive()]

    def _run(self, poller: Poller) -> None:
        while not self._stopping.is_set():
            self._clock.wait(poller.poll(), self._stopping)
        poller.finish()
