"""Your own Lightning script: metered, under a budget, with a report, with one callback."""

from __future__ import annotations

import argparse

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from carbon_trainer.callbacks import CarbonAware


class NextNumber(lightning.LightningModule):
    """Any module works; this one learns to add one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8)
        )

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        (numbers,) = batch
        loss = torch.nn.functional.mse_loss(self.layers(numbers), numbers + 1)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--runs-dir", default="carbon_runs")
    args = parser.parse_args()

    # It stops before the budget is exceeded, saves a checkpoint, and writes the report to
    # RUNS_DIR/RUN. With deadline="3d" the run would also be shifted and throttled.
    carbon = CarbonAware(budget_kwh=0.5, zone="GB", runs_dir=args.runs_dir, project="examples")

    numbers = TensorDataset(torch.randn(4096, 8))
    trainer = lightning.Trainer(
        max_steps=args.steps,
        max_epochs=-1,
        callbacks=[carbon],
        logger=False,
        default_root_dir=args.runs_dir,
    )
    trainer.fit(NextNumber(), DataLoader(numbers, batch_size=64, shuffle=True))


if __name__ == "__main__":
    main()
