"""What the parts put load on: a CUDA GPU; in tests and without one, a simulated GPU."""

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
from carbon_trainer.errors import InputError

CUDA = "carbon_trainer.acceptance.accelerator:CudaAccelerator"

CHUNK_S = 0.02
"""How much work is queued at once while a load is held, seconds."""

QUEUED = 2
LOOK_S = 0.0005

PRODUCT_SIZES = {1.0: 8192, 0.6: 2048, 0.3: 1024}
"""Edge of the matrix product of each intensity: the smaller, the more multiprocessors idle."""

CALIBRATION_PRODUCTS = 50
WARM_S = 0.5
"""How long a GPU's clocks take to rise from idle, at most, seconds."""


class Accelerator(Protocol):
    """One GPU that can be kept busy.

    Attributes:
        uuid: NVML's UUID of it.
        trains_on: Lightning's name of what trainings run on.
        is_simulated: whether its power is simulated.
    """

    uuid: str
    trains_on: Literal["gpu", "cpu"]
    is_simulated: bool

    def open(self) -> None:
        """Take a context, and learn how long work takes."""

    def close(self) -> None:
        """Let go of the context as far as a living process can."""

    def launch(self, seconds: float, intensity: float) -> None:
        """Queue work, and return at once.

        Args:
            seconds: how long it takes at full power.
            intensity: 1.0, 0.6 or 0.3: how much of the GPU works.
        """

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""

    def event(self) -> GpuEvent:
        """Make an event."""


class CudaAccelerator:
    """The first GPU that torch sees; works by matrix products in bfloat16."""

    trains_on: Literal["gpu", "cpu"] = "gpu"
    is_simulated = False

    def __init__(self) -> None:
        self.uuid = first_gpu()
        self._products: dict[float, tuple[Any, Any, Any]] = {}
        self._product_s: dict[float, float] = {}

    def open(self) -> None:
        """Take a context, and time each product."""
        import torch

        generator = torch.Generator("cuda").manual_seed(1)
        for intensity, size in PRODUCT_SIZES.items():
            # Random data: a product of zeros draws a good deal less.
            left, right = (
                torch.randn(size, size, device="cuda", dtype=torch.bfloat16, generator=generator)
                for _ in range(2)
            )
            self._products[intensity] = (left, right, torch.empty_like(left))
            warm_s = time.perf_counter() + WARM_S
            while time.perf_counter() < warm_s:
                self._multiply(intensity, CALIBRATION_PRODUCTS)
                torch.cuda.synchronize()
            began_s = time.perf_counter()
            self._multiply(intensity, CALIBRATION_PRODUCTS)
            torch.cuda.synchronize()
            self._product_s[intensity] = (time.perf_counter() - began_s) / CALIBRATION_PRODUCTS

    def close(self) -> None:
        """Give the memory back; the context stays until the process ends."""
        import torch

        self._products.clear()
        torch.cuda.empty_cache()

    def launch(self, seconds: float, intensity: float) -> None:
        """Queue products that take about so long."""
        self._multiply(intensity, max(1, round(seconds / self._product_s[intensity])))

    def synchronize(self) -> None:
        """Wait until all products are done."""
        import torch

        torch.cuda.synchronize()

    def event(self) -> GpuEvent:
        """Make an event that notes the GPU's time."""
        import torch

        make: Callable[..., GpuEvent] = torch.cuda.Event
        return make(enable_timing=True)

    def _multiply(self, intensity: float, times: int) -> None:
        import torch

        left, right, product = self._products[intensity]
        for _ in range(times):
            torch.mm(left, right, out=product)


def first_gpu() -> str:
    """Return NVML's UUID of the first GPU that this process may use.

    CUDA is not asked: that would take a context, and a GPU without one could not be measured.

    Raises:
        InputError: if there is none.
    """
    from carbon_trainer.energy.sources.nvml import discover_gpus

    found = [source.describe().device for source in discover_gpus()]
    if not found:
        raise InputError(
            "the acceptance check needs an NVIDIA GPU, and NVML reports none that this process "
            "may use: see `carbon-train doctor`."
        )
    return found[0]


def check_torch() -> None:
    """Check that torch can use a GPU, in a process of its own, which takes its context with it.

    Raises:
        InputError: if it cannot.
    """
    code = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 75)"
    ended = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603 - this interpreter
    if ended.returncode:
        raise InputError(
            "NVML reports a GPU, but torch cannot use it: install a build of torch with CUDA, and "
            "see that CUDA_VISIBLE_DEVICES names a GPU."
        )


def accelerator_of(spec: str) -> Accelerator:
    """Make the accelerator that ``module:name`` names."""
    module, _, name = spec.partition(":")
    make: Callable[[], Accelerator] = getattr(importlib.import_module(module), name)
    return make()


def hold(accelerator: Accelerator, seconds: float, intensity: float) -> int:
    """Keep a GPU busy, and wait for the end.

    Args:
        accelerator: the GPU, open.
        seconds: for how long.
        intensity: how much of it works.

    Returns:
        How many chunks of work it did, each ``CHUNK_S`` long at full power.
    """
    until_s = time.perf_counter() + seconds
    work = steady_work(accelerator, CHUNK_S, intensity)
    done = 0
    while time.perf_counter() < until_s:
        done = next(work)
    accelerator.synchronize()
    return done + QUEUED if done else 0


def steady_work(accelerator: Accelerator, step_s: float, intensity: float) -> Iterator[int]:
    """Work in equal steps without a gap between them, as a training loop does.

    Args:
        accelerator: the GPU, open.
        step_s: how long a step takes at full power, seconds.
        intensity: how much of the GPU works.

    Yields:
        How many steps are done, each time that one ends; so many as ``QUEUED`` are under way.
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
    """Wait until a GPU has come to an event, without keeping a core busy."""
    while not event.query():
        time.sleep(LOOK_S)
