"""Cost of metering for a training loop: Lightning alone, with us, with CodeCarbon and Zeus.

Run it on an otherwise idle machine: ``python -m benchmarks.overhead``. The variants take turns in
one process, so that a machine that slows down slows all of them; the median round counts.
"""

from __future__ import annotations

import importlib.util
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from carbon_trainer.acceptance.parts.overhead import ZeusWindows
from carbon_trainer.callbacks import CarbonAware
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant


class Small(lightning.LightningModule):
    """A model so small that the overhead around it is visible."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(32, 32)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Return a loss."""
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Heavier(Small):
    """Steps of some ten milliseconds, as the smallest real models have."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(8)))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Return a loss."""
        wide = batch[0].repeat(16, 16)
        return self.layer(wide).square().mean()


class NoOp(Callback):
    """A callback that does nothing, at a step's beginning and at its end."""

    def on_train_batch_start(self, *_: Any) -> None:
        """Do nothing."""

    def on_train_batch_end(self, *_: Any) -> None:
        """Do nothing."""


def seconds_of(callbacks: list[Callback], steps: int, model: type[Small] = Small) -> float:
    """Train and return the seconds from the first step's beginning to the last one's end."""
    timer = _Timer()
    data = DataLoader(TensorDataset(torch.ones(64, 32)), batch_size=8)
    trainer = lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, timer],
    )
    trainer.fit(model(), data)
    return timer.end_s - timer.begin_s


class _Timer(Callback):
    begin_s = 0.0
    end_s = 0.0

    def on_train_start(self, *_: Any) -> None:
        self.begin_s = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        self.end_s = time.perf_counter()


def with_codecarbon(steps: int, model: type[Small]) -> float:
    """Train with CodeCarbon around ``fit``, measuring each second."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA", output_methods=[], log_level="critical", measure_power_secs=1
    )
    tracker.start()
    try:
        return seconds_of([], steps, model)
    finally:
        tracker.stop()


@click.command()
@click.option("--steps", default=4000, show_default=True, help="Steps of a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each variant.")
@click.option("--heavier", is_flag=True, help="A model whose steps take some ten milliseconds.")
def main(steps: int, rounds: int, heavier: bool) -> None:
    """Print microseconds a step and the ratio to Lightning alone.

    Zeus reads a simulated GPU, whose answers cost less than a real one's; it is left out where it
    is not installed.
    """
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    model = Heavier if heavier else Small
    with tempfile.TemporaryDirectory() as folder:

        def with_carbon_aware(**settings: Any) -> float:
            return seconds_of([CarbonAware(runs_dir=Path(folder), **settings)], steps, model)

        variants: dict[str, Callable[[], float]] = {
            "Lightning alone": lambda: seconds_of([], steps, model),
            "a no-op callback": lambda: seconds_of([NoOp()], steps, model),
            "CarbonAware": with_carbon_aware,
            "CarbonAware, budget": lambda: with_carbon_aware(budget_kwh=500),
            "CarbonAware, schedule": lambda: with_carbon_aware(
                budget_kwh=500, deadline="30d", throttle="off", max_wait="1s"
            ),
            "CodeCarbon around fit": lambda: with_codecarbon(steps, model),
        }
        if importlib.util.find_spec("zeus") is not None:
            SimulatedNvml(SimulatedGpu(power=Constant(300.0))).load()
            variants["Zeus, a window a step"] = lambda: seconds_of(
                [ZeusWindows(waits=False)], steps, model
            )
        samples: dict[str, list[float]] = {name: [] for name in variants}
        for variant in variants.values():
            variant()
        for _ in range(rounds):
            for name, variant in variants.items():
                samples[name].append(variant() / steps * 1e6)
    alone_us = statistics.median(samples["Lightning alone"])
    print(f"{'variant':24} {'us a step':>10} {'over alone':>11} {'ratio':>7}")
    for name, times in samples.items():
        us = statistics.median(times)
        print(f"{name:24} {us:10.1f} {us - alone_us:+11.1f} {us / alone_us:7.3f}")


if __name__ == "__main__":
    main()
