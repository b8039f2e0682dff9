"""Cost of metering for a transformers Trainer: alone, with a no-op callback, with ours.

Run it on an otherwise idle machine: ``python -m benchmarks.overhead_huggingface``. The variants
take turns in one process, so that a machine that slows down slows all of them; the median round
counts.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import click
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from carbon_trainer.callbacks.huggingface import CarbonAwareCallback


class Small(torch.nn.Module):
    """A model so small that the overhead around it is visible."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(32, 32)

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.layer(rows).square().mean()}


class Rows(Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"rows": torch.ones(32)}


class NoOp(TrainerCallback):
    """A callback that does nothing, at a step's beginning and at its end."""

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Do nothing."""


class _Timer(TrainerCallback):
    begin_s = 0.0
    end_s = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.begin_s = self.begin_s or time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.end_s = time.perf_counter()


def seconds_of(folder: Path, callbacks: list[TrainerCallback], steps: int) -> float:
    """Train and return the seconds from the first step's beginning to the last one's end."""
    timer = _Timer()
    args = TrainingArguments(
        output_dir=str(folder / "out"), max_steps=steps, use_cpu=True, report_to="none",
        save_strategy="no", logging_strategy="no", disable_tqdm=True, log_level="error",
    )  # fmt: skip
    Trainer(Small(), args, train_dataset=Rows(), callbacks=[*callbacks, timer]).train()
    return timer.end_s - timer.begin_s


@click.command()
@click.option("--steps", default=4000, show_default=True, help="Steps of a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each variant.")
def main(steps: int, rounds: int) -> None:
    """Print microseconds a step and the ratio to the Trainer alone."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def with_callback(**settings: Any) -> list[TrainerCallback]:
            return [CarbonAwareCallback(runs_dir=folder / "runs", **settings)]

        variants = {
            "Trainer alone": list,
            "a no-op callback": lambda: [NoOp()],
            "CarbonAwareCallback": with_callback,
            "CarbonAwareCallback, budget": lambda: with_callback(budget_kwh=500),
        }
        samples: dict[str, list[float]] = {name: [] for name in variants}
        for callbacks in variants.values():
            seconds_of(folder, callbacks(), steps // 10)
        for _ in range(rounds):
            for name, callbacks in variants.items():
                samples[name].append(seconds_of(folder, callbacks(), steps) / steps * 1e6)
    alone_us = statistics.median(samples["Trainer alone"])
    print(f"{'variant':28} {'us a step':>10} {'over alone':>11} {'ratio':>7}")
    for name, times in samples.items():
        us = statistics.median(times)
        print(f"{name:28} {us:10.1f} {us - alone_us:+11.1f} {us / alone_us:7.3f}")


if __name__ == "__main__":
    main()
