"""A simulated GPU as the acceptance check loads it: a queue processed in real time."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pynvml

from tests.simulation.shared_power import CONTEXT_W, IDLE_W, SharedPower

NS_PER_MS = 1_000_000
FULL_LOAD_W = 560.0
SPEED_EXPONENT = 0.5
"""At a fraction ``p`` of the power that it demands it works at ``p ** 0.5`` of its speed."""

NAME = "tests.simulation.accelerator:SimulatedAccelerator"


class SimulatedAccelerator:
    """The first simulated GPU of this process; its power must be a ``SharedPower``."""

    trains_on: Literal["gpu", "cpu"] = "cpu"
    is_simulated = True

    def __init__(self) -> None:
        self._gpu = pynvml.nvmlLib.gpus[0]
        assert isinstance(self._gpu.power, SharedPower)
        self._power: SharedPower = self._gpu.power
        self._process = str(os.getpid())
        self.uuid: str = self._gpu.uuid
        self.free_ns = 0

    def open(self) -> None:
        self._power.set_context(self._process, time.time_ns(), held=True)

    def close(self) -> None:
        self._power.set_context(self._process, max(self.free_ns, time.time_ns()), held=False)

    def launch(self, seconds: float, intensity: float) -> None:
        demand_w = intensity * FULL_LOAD_W
        self._gpu.refresh_settings()
        total_w = IDLE_W + CONTEXT_W + demand_w
        speed = min(1.0, self._gpu.limit_mw / 1000 / total_w) ** SPEED_EXPONENT
        begin_ns = max(self.free_ns, time.time_ns())
        self.free_ns = begin_ns + round(seconds * 1e9 / speed)
        self._power.add_work(self._process, begin_ns, self.free_ns, demand_w)

    def synchronize(self) -> None:
        time.sleep(max(0, self.free_ns - time.time_ns()) / 1e9)

    def event(self) -> SimulatedEvent:
        return SimulatedEvent(self)


@dataclass
class SimulatedEvent:
    """As torch.cuda.Event with timing."""

    accelerator: SimulatedAccelerator
    at_ns: int | None = field(default=None)

    def record(self) -> None:
        self.at_ns = max(self.accelerator.free_ns, time.time_ns())

    def query(self) -> bool:
        return self.at_ns is not None and self.at_ns <= time.time_ns()

    def elapsed_time(self, end_event: SimulatedEvent) -> float:
        assert self.at_ns is not None
        assert end_event.at_ns is not None
        return float(np.float32((end_event.at_ns - self.at_ns) / NS_PER_MS))
