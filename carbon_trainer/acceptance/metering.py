"""The meter under test, on the one GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from carbon_trainer.energy.gpu_marks import GpuEvent
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.nvml import discover_gpus


@contextmanager
def gpu_meter(uuid: str, gpu_event: Callable[[], GpuEvent] | None = None) -> Iterator[EnergyMeter]:
    """Meter one GPU while the context lasts, as a run would.

    Args:
        uuid: the GPU's.
        gpu_event: makes an event, for steps to be marked in the GPU's time.
    """
    sources = [one for one in discover_gpus() if one.describe().device == uuid]
    with EnergyMeter(sources, gpu_event=gpu_event) as meter:
        yield meter
