"""A tiny model, data with a state, and a trainer, for tests of callbacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from carbon_trainer.config import RunConfig
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.runs.outcome import ResumePoint
from carbon_trainer.runs.session import RunSession
from tests.simulation.source import ConstantSource


class TinyModule(lightning.LightningModule):
    """A linear layer with dropout, so that random state matters."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.dropout = torch.nn.Dropout(0.3)
        self.losses: list[float] = []

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = self.layer(self.dropout(batch[0])).square().mean()
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("validation/loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def loader(count: int = 24) -> StatefulDataLoader:
    data = torch.arange(count * 4, dtype=torch.float32).reshape(count, 4) / count
    return StatefulDataLoader(TensorDataset(data), batch_size=2, shuffle=True)


def validation_loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(4, 4)), batch_size=2)


def trainer(tmp_path: Path, *callbacks: Callback, steps: int = 6, **options: Any) -> Any:
    return lightning.Trainer(
        **{
            "max_steps": steps,
            "max_epochs": -1,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "default_root_dir": tmp_path,
            **options,
        },
        callbacks=list(callbacks),
    )


def session(
    tmp_path: Path,
    *,
    source: ConstantSource | None = None,
    resume: ResumePoint | None = None,
    **settings: Any,
) -> RunSession:
    config = RunConfig(**{"runs_dir": tmp_path / "runs", "log_every": 1, **settings})
    meter = EnergyMeter([source or ConstantSource()])
    return RunSession.open(config, meter=meter, resume=resume)
