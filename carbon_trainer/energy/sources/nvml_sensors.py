"""The sensors behind NVML on different GPUs: averaging windows, and modules with a CPU."""

from __future__ import annotations

import logging
from typing import Any

import pynvml

from carbon_trainer.clock import NS_PER_S

log = logging.getLogger(__name__)

UNKNOWN_WINDOW_NS = NS_PER_S
"""Generations newer than those measured: as the newest of them."""

GA100_MODELS = ("A100", "A30")
"""GPUs with the chip GA100, whose sensor differs from other Ampere's."""


def power_window_ns(handle: Any, name: str) -> int:
    """Return the span over which ``nvmlDeviceGetPowerUsage`` averages, nanoseconds.

    Measured per generation (data of arXiv 2312.02741, SC24; drivers from 530 on): 1 s on Hopper,
    Ada and Ampere, but 25 ms on GA100; 100 ms on Turing; 10 ms on Volta and Pascal.
    """
    try:
        architecture = int(pynvml.nvmlDeviceGetArchitecture(handle))
    except pynvml.NVMLError as error:
        log.debug("nvmlDeviceGetArchitecture: %s", error)
        return UNKNOWN_WINDOW_NS
    # NVML reports the architecture only, not the chip, so the name has to show it.
    is_ga100 = any(model in name for model in GA100_MODELS)
    if architecture == pynvml.NVML_DEVICE_ARCH_AMPERE and is_ga100:
        return NS_PER_S // 40
    if architecture == pynvml.NVML_DEVICE_ARCH_TURING:
        return NS_PER_S // 10
    if architecture in (pynvml.NVML_DEVICE_ARCH_VOLTA, pynvml.NVML_DEVICE_ARCH_PASCAL):
        return NS_PER_S // 100
    return UNKNOWN_WINDOW_NS


def instant_mw(handle: Any, scope: int = 0) -> int:
    """Return power at this moment (NVML field 186), milliwatts.

    Args:
        handle: the GPU's.
        scope: the GPU itself (``NVML_POWER_SCOPE_GPU``, 0), or the module that it is part of.

    Raises:
        NVMLError: if the device does not report it.
    """
    (field,) = pynvml.nvmlDeviceGetFieldValues(handle, [(pynvml.NVML_FI_DEV_POWER_INSTANT, scope)])
    # The call succeeds also where a field is not supported: each field has a code of its own.
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field.nvmlReturn)
    return int(field.value.uiVal)


def is_module(handle: Any) -> bool:
    """Return whether the GPU shares a module, its power and its counter with a CPU.

    NVML has no query for that; but the chip-to-chip link is on where Grace and the GPU are one
    module.
    """
    try:
        return bool(pynvml.nvmlDeviceGetC2cModeInfoV(handle).isC2cEnabled)
    except pynvml.NVMLError as error:
        log.debug("nvmlDeviceGetC2cModeInfoV: %s", error)
        return False
