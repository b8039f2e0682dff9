"""What ``CarbonAware`` costs a training loop, beside Zeus and CodeCarbon as usually used."""

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
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.callbacks import CarbonAware

ALONE, OURS, ZEUS, CODECARBON = "Lightning alone", "CarbonAware", "Zeus", "CodeCarbon"
MOST_SHARE = 0.01
"""Of a step that metering may cost, where steps take 20 ms or more."""

CHECKED_FROM_MS = 20
NOISE_US = 100
"""What two rounds of the same may differ by, a step: a virtual machine's own noise."""


class Loaded(lightning.LightningModule):
    """A model whose steps take a length of time on the GPU.

    Args:
        accelerator: the GPU, open.
        step_s: how long a step works there, seconds.
    """

    def __init__(self, accelerator: Accelerator, step_s: float) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(32, 32)
        self._gpu = accelerator
        self._step_s = step_s

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Put the work on the GPU; return a loss."""
        self._gpu.launch(self._step_s, 1.0)
        loss: torch.Tensor = self.layer(batch[0]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


class ZeusWindows(Callback):
    """Zeus as its examples use it: a window around each step.

    Args:
        waits: whether the GPU is waited for at both ends, which is Zeus's default.
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
    """Times training from its first step's beginning until the GPU has done the last one."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._gpu = accelerator
        self._began_s = 0.0
        self.seconds = 0.0

    def on_train_start(self, *_: Any) -> None:
        self._gpu.synchronize()
        self._began_s = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        self._gpu.synchronize()
        self.seconds = time.perf_counter() - self._began_s


def measure(setting: Setting, findings: Findings) -> None:
    """Let the variants take turns, and compare their medians."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    setting.accelerator.open()
    # What is loaded on first use is no part of any variant.
    _seconds(setting, 0.005, 10, [CarbonAware(runs_dir=setting.folder / "first")])
    rows: list[tuple[Cell, ...]] = []
    for step_ms, steps in setting.scale.overhead_steps:
        found = _rounds(setting, step_ms / 1000, steps)
        alone_us = found[ALONE]
        rows += [(f"{step_ms} ms", name, *_compared(us, alone_us)) for name, us in found.items()]
        if step_ms >= CHECKED_FROM_MS:
            cost_us = found[OURS] - alone_us
            findings.check(
                f"CarbonAware costs at most {MOST_SHARE:.0%} of steps of {step_ms} ms",
                cost_us <= max(MOST_SHARE * alone_us, NOISE_US),
                f"{cost_us:+,.0f} µs a step, {cost_us / alone_us:+.2%}",
            )
    setting.accelerator.close()
    findings.table(
        "Time of a step",
        ("step on the GPU", "variant", "µs", "over Lightning alone, µs", "ratio"),
        rows,
    )


def _compared(us: float, alone_us: float) -> tuple[Cell, ...]:
    if math.isnan(us):
        return ("it failed", None, None)
    return (round(us, 1), round(us - alone_us, 1), round(us / alone_us, 4))


def _rounds(setting: Setting, step_s: float, steps: int) -> dict[str, float]:
    """Return each variant's median time of a step, microseconds."""
    variants = _variants(setting, step_s, steps)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(setting.scale.overhead_rounds):
        # There and back: a board that grows warmer slows the first as much as the last.
        for name in list(variants)[:: -1 if number % 2 else 1]:
            taken[name].append(_tried(name, variants[name]) / steps * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def _tried(name: str, variant: Callable[[], float]) -> float:
    """Return a variant's seconds; not a number where a peer breaks, which is its own affair."""
    if name in (ALONE, OURS):
        return variant()
    try:
        return variant()
    except Exception:  # noqa: BLE001 - it says so in the log and in the table
        traceback.print_exc()
        return math.nan


def _variants(setting: Setting, step_s: float, steps: int) -> dict[str, Callable[[], float]]:
    def train(*callbacks: Callback) -> float:
        return _seconds(setting, step_s, steps, list(callbacks))

    def around() -> float:
        with _codecarbon(setting.folder):
            return train()

    variants: dict[str, Callable[[], float]] = {
        ALONE: train,
        # The GPU alone, as Zeus.
        OURS: lambda: train(
            CarbonAware(runs_dir=setting.folder / "overhead", budget_kwh=500, host_metering=False)
        ),
        f"{CODECARBON} around fit": around,
    }
    if importlib.util.find_spec("zeus") is not None:
        waits = not setting.accelerator.is_simulated
        name = f"{ZEUS}, a window a step{', GPU waited for' if waits else ''}"
        variants[name] = lambda: train(ZeusWindows(waits=waits))
    return variants


def _seconds(setting: Setting, step_s: float, steps: int, callbacks: list[Callback]) -> float:
    timer = _Timer(setting.accelerator)
    trainer = lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator=setting.accelerator.trains_on,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, timer],
        default_root_dir=setting.folder,
    )
    # One epoch: its end costs something of its own.
    data = DataLoader(TensorDataset(torch.ones(8 * steps, 32)), batch_size=8)
    trainer.fit(Loaded(setting.accelerator, step_s), data)
    return timer.seconds


@contextmanager
def _codecarbon(folder: Path) -> Iterator[None]:
    """Track with CodeCarbon's own defaults, but for the network and its file."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA", output_dir=str(folder), log_level="critical"
    )
    tracker.start()
    try:
        yield
    finally:
        tracker.stop()
