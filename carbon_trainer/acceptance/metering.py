"""The meter under test, on the one GPU."""

from __future__ import annotations

from collections.abc import Callable

from carbon_trainer.energy.cuda_steps import GpuEvent
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.sources.nvml import NvmlSource, discover_gpus


def sources_of(uuid: str) -> list[NvmlSource]:
    """Return the power source of one GPU, as a run would use it."""
    return discover_gpus({"CUDA_VISIBLE_DEVICES": uuid})


def gpu_meter(uuid: str, gpu_event: Callable[[], GpuEvent] | None = None) -> EnergyMeter:
    """Return a meter of one GPU, to be used as a context manager.

    Args:
        uuid: the GPU's.
        gpu_event: makes an event that marks a step in the GPU's time; None for the thread's time.
    """
    return EnergyMeter(sources_of(uuid), gpu_event=gpu_event)
