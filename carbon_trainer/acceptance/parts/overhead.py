"""Cost of ``CarbonAware`` for a training loop, compared with Zeus and CodeCarbon."""

from __future__ import annotations

import importlib.util
import logging
import math
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from carbon_trainer.acceptance.accelerator import Accelerator
from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.callbacks import CarbonAware

ALONE, OURS, ZEUS, CODECARBON = "Lightning alone", "CarbonAware", "Zeus", "CodeCarbon"
MAX_SHARE = 0.01
"""Share of a step that metering may cost, where steps take 20 ms or more."""

CHECKED_FROM_MS = 20
NOISE_US = 100
"""Noise of a virtual machine: the difference per step between two rounds of the same variant."""


class TimedModel(lightning.LightningModule):
    """A model whose steps take a given time on the GPU.

    Args:
        accelerator: the GPU, open.
        step_s: length of a step on the GPU, seconds.
    """

    def __init__(self, accelerator: Accelerator, step_s: float) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(32, 32)
        self._gpu = accelerator
        self._step_s = step_s

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Queue the work on the GPU; return a loss."""
        self._gpu.launch(self._step_s, 1.0)
        loss: torch.Tensor = self.layer(batch[0]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


class ZeusWindows(Callback):
    """Zeus as its examples use it: a window around each step.

    Args:
        waits: whether it synchronizes with the GPU at both ends, which is Zeus's default.
    """

    def __init__(self, *, waits: bool) -> None:
        from zeus.monitor import ZeusMonitor

        self._monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
        self._waits = waits

    def on_train_batch_start(self, *_: Any) -> None:
        """Begin a window."""
        self._monitor.begin_window("step", sync_execution=self._waits)

    def on_train_batch_end(self, *_: Any) -> None:
        """End it."""
        self._monitor.end_window("step", sync_execution=self._waits)


class _Timer(Callback):
    """Times training from the start of the first step until the GPU has finished the last."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._gpu = accelerator
        self._started_s = 0.0
        self.seconds = 0.0

    def on_train_start(self, *_: Any) -> None:
        self._gpu.synchronize()
        self._started_s = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        self._gpu.synchronize()
        self.seconds = time.perf_counter() - self._started_s


def measure(context: PartContext, findings: Findings) -> None:
    """Run the variants in turn, and compare their medians."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    context.accelerator.open()
    # What is loaded on first use is not part of any variant.
    _seconds(context, 0.005, 10, [CarbonAware(runs_dir=context.folder / "first")])
    rows: list[tuple[Cell, ...]] = []
    for step_ms, steps in context.scale.overhead_steps:
        times_us = _median_step_us(context, step_ms / 1000, steps)
        alone_us = times_us[ALONE]
        rows += [(f"{step_ms} ms", name, *_compared(us, alone_us)) for name, us in times_us.items()]
        if step_ms >= CHECKED_FROM_MS:
            cost_us = times_us[OURS] - alone_us
            findings.check(
                f"CarbonAware costs at most {MAX_SHARE:.0%} of steps of {step_ms} ms",
                cost_us <= max(MAX_SHARE * alone_us, NOISE_US),
                f"{cost_us:+,.0f} µs a step, {cost_us / alone_us:+.2%}",
            )
    context.accelerator.close()
    findings.table(
        "Time of a step",
        ("step on the GPU", "variant", "µs", "over Lightning alone, µs", "ratio"),
        rows,
    )


def _compared(us: float, alone_us: float) -> tuple[Cell, ...]:
    if math.isnan(us):
        return ("it failed", None, None)
    return (round(us, 1), round(us - alone_us, 1), round(us / alone_us, 4))


def _median_step_us(context: PartContext, step_s: float, steps: int) -> dict[str, float]:
    """Return each variant's median time of a step, microseconds."""
    variants = _variants(context, step_s, steps)
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(context.scale.overhead_rounds):
        # Every other round in reverse, as a board that warms up slows the variants that come last.
        for name in list(variants)[:: -1 if number % 2 else 1]:
            samples[name].append(_seconds_or_nan(name, variants[name]) / steps * 1e6)
    return {name: statistics.median(times) for name, times in samples.items()}


def _seconds_or_nan(name: str, variant: Callable[[], float]) -> float:
    """Return a variant's seconds; NaN where another library fails, which is not checked here."""
    if name in (ALONE, OURS):
        return variant()
    try:
        return variant()
    except Exception:  # noqa: BLE001 - the log and the table say so
        traceback.print_exc()
        return math.nan


def _variants(context: PartContext, step_s: float, steps: int) -> dict[str, Callable[[], float]]:
    def train(*callbacks: Callback) -> float:
        return _seconds(context, step_s, steps, list(callbacks))

    def with_codecarbon() -> float:
        with _codecarbon(context.folder):
            return train()

    variants: dict[str, Callable[[], float]] = {
        ALONE: train,
        # Only the GPU, as Zeus.
        OURS: lambda: train(
            CarbonAware(runs_dir=context.folder / "overhead", budget_kwh=500, host_metering=False)
        ),
        f"{CODECARBON} around fit": with_codecarbon,
    }
    if importlib.util.find_spec("zeus") is not None:
        waits = not context.accelerator.is_simulated
        name = f"{ZEUS}, a window a step{', synchronized' if waits else ''}"
        variants[name] = lambda: train(ZeusWindows(waits=waits))
    return variants


def _seconds(context: PartContext, step_s: float, steps: int, callbacks: list[Callback]) -> float:
    timer = _Timer(context.accelerator)
    trainer = lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator=context.accelerator.trains_on,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, timer],
        default_root_dir=context.folder,
    )
    # A single epoch, as its end has a cost of its own.
    data = DataLoader(TensorDataset(torch.ones(8 * steps, 32)), batch_size=8)
    trainer.fit(TimedModel(context.accelerator, step_s), data)
    return timer.seconds


@contextmanager
def _codecarbon(folder: Path) -> Iterator[None]:
    """Track with CodeCarbon's defaults, except for the network and the file's folder."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA", output_dir=str(folder), log_level="critical"
    )
    tracker.start()
    try:
        yield
    finally:
        tracker.stop()
