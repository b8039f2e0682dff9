"""The GPU that the parts put under load: a CUDA GPU, or a simulated one."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Literal, Protocol

from carbon_trainer.energy.cuda_steps import GpuEvent
from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.errors import InputError

CUDA = "carbon_trainer.acceptance.accelerator:CudaAccelerator"

CHUNK_S = 0.02
"""Work that is queued at once while a GPU is kept busy, seconds."""

QUEUED = 2
POLL_INTERVAL_S = 0.0005

PRODUCT_SIZES = {1.0: 8192, 0.6: 2048, 0.3: 1024}
"""Size of the square matrices for each intensity: with smaller ones, more multiprocessors idle."""

CALIBRATION_PRODUCTS = 50
WARM_UP_S = 0.5
"""The longest that a GPU's clocks take to rise from idle, seconds."""


class Accelerator(Protocol):
    """One GPU that can be kept busy.

    Attributes:
        uuid: its UUID in NVML.
        trains_on: Lightning's name of the accelerator that trainings run on.
        is_simulated: whether its power is simulated.
    """

    uuid: str
    trains_on: Literal["gpu", "cpu"]
    is_simulated: bool

    def open(self) -> None:
        """Create a context, and measure how long work takes."""

    def close(self) -> None:
        """Release the context as far as a running process can."""

    def launch(self, seconds: float, intensity: float) -> None:
        """Queue work, and return immediately.

        Args:
            seconds: how long it takes at full power.
            intensity: 1.0, 0.6 or 0.3: the share of the GPU that works.
        """

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def event(self) -> GpuEvent:
        """Make an event."""


class CudaAccelerator:
    """The first GPU that torch sees; its work is matrix products in bfloat16."""

    trains_on: Literal["gpu", "cpu"] = "gpu"
    is_simulated = False

    def __init__(self) -> None:
        self.uuid = first_gpu()
        self._products: dict[float, tuple[Any, Any, Any]] = {}
        self._product_s: dict[float, float] = {}

    def open(self) -> None:
        """Create a context, and time each product."""
        import torch

        generator = torch.Generator("cuda").manual_seed(1)
        for intensity, size in PRODUCT_SIZES.items():
            # Random data: a product of zeros draws much less power, as hardly a bit switches.
            first, second = (
                torch.randn(size, size, device="cuda", dtype=torch.bfloat16, generator=generator)
                for _ in range(2)
            )
            self._products[intensity] = (first, second, torch.empty_like(first))
            warm_at_s = time.perf_counter() + WARM_UP_S
            while time.perf_counter() < warm_at_s:
                self._multiply(intensity, CALIBRATION_PRODUCTS)
                torch.cuda.synchronize()
            started_s = time.perf_counter()
            self._multiply(intensity, CALIBRATION_PRODUCTS)
            torch.cuda.synchronize()
            self._product_s[intensity] = (time.perf_counter() - started_s) / CALIBRATION_PRODUCTS

    def close(self) -> None:
        """Free the memory; the context stays until the process ends."""
        import torch

        self._products.clear()
        torch.cuda.empty_cache()

    def launch(self, seconds: float, intensity: float) -> None:
        """Queue products that take about that long."""
        self._multiply(intensity, max(1, round(seconds / self._product_s[intensity])))

    def synchronize(self) -> None:
        """Wait until all products are done."""
        import torch

        torch.cuda.synchronize()

    def event(self) -> GpuEvent:
        """Make an event that records the GPU's time."""
        import torch

        make: Callable[..., GpuEvent] = torch.cuda.Event
        return make(enable_timing=True)

    def _multiply(self, intensity: float, times: int) -> None:
        import torch

        first, second, product = self._products[intensity]
        for _ in range(times):
            torch.mm(first, second, out=product)


def first_gpu() -> str:
    """Return NVML's UUID of the first GPU that this process may use.

    Without CUDA: that would create a context, and a GPU without one could not be measured.

    Raises:
        InputError: if there is none.
    """
    devices = [source.describe().device for source in discover_gpus()]
    if not devices:
        raise InputError(
            "the acceptance check needs an NVIDIA GPU, and NVML reports none that this process "
            "may use: see `carbon-train doctor`."
        )
    return devices[0]


def check_torch() -> None:
    """Check that torch can use a GPU, in a separate process, which ends with its context.

    Raises:
        InputError: if it cannot.
    """
    code = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 75)"
    process = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603 - this interpreter
    if process.returncode:
        raise InputError(
            "NVML reports a GPU, but torch cannot use it: install a build of torch with CUDA, and "
            "see that CUDA_VISIBLE_DEVICES names a GPU."
        )


def accelerator_of(spec: str) -> Accelerator:
    """Make the accelerator of a name such as ``module:name``."""
    module, _, name = spec.partition(":")
    make: Callable[[], Accelerator] = getattr(importlib.import_module(module), name)
    return make()


def keep_busy(accelerator: Accelerator, seconds: float, intensity: float) -> int:
    """Keep a GPU busy, and wait until it is done.

    Args:
        accelerator: the GPU, open.
        seconds: for how long.
        intensity: the share of it that works.

    Returns:
        Number of chunks of work done, each ``CHUNK_S`` long at full power.
    """
    until_s = time.perf_counter() + seconds
    work = steady_steps(accelerator, CHUNK_S, intensity)
    chunks = 0
    while time.perf_counter() < until_s:
        chunks = next(work)
    accelerator.synchronize()
    return chunks + QUEUED if chunks else 0


def steady_steps(accelerator: Accelerator, step_s: float, intensity: float) -> Iterator[int]:
    """Work in equal steps without a gap between them, as a training loop does.

    Args:
        accelerator: the GPU, open.
        step_s: how long a step takes at full power, seconds.
        intensity: the share of the GPU that works.

    Yields:
        The number of finished steps, as each one finishes; ``QUEUED`` further ones are under way.
    """
    queued: deque[GpuEvent] = deque()
    for launched in count(1):
        accelerator.launch(step_s, intensity)
        event = accelerator.event()
        event.record()
        queued.append(event)
        if launched > QUEUED:
            wait_for(queued.popleft())
            yield launched - QUEUED


def wait_for(event: GpuEvent) -> None:
    """Wait until a GPU has reached an event, without keeping a core busy."""
    while not event.query():
        time.sleep(POLL_INTERVAL_S)
