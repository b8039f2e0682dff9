"""TextDataModule: packed blocks for Lightning, in an order that resumes exactly."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

from carbon_trainer.data.prepare import PreparedData
from carbon_trainer.errors import InputError


class TextDataModule(LightningDataModule):
    """Serves prepared data.

    The training loader keeps its position in checkpoints. Both loaders draw from generators of
    their own, so that making one does not move the model's random state.

    Args:
        prepared: the blocks.
        batch_size: blocks in a batch, on each device.
        seed: seed of the order.
        workers: processes that load.
    """

    def __init__(
        self, prepared: PreparedData, *, batch_size: int, seed: int = 1, workers: int = 0
    ) -> None:
        super().__init__()
        self.prepared = prepared
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        if len(prepared.train) < batch_size:
            raise InputError(
                f"the corpus has {len(prepared.train)} blocks to train on, fewer than a batch of "
                f"{batch_size}: add text, or lower --batch-size or --block-size."
            )

    def train_dataloader(self) -> Any:
        """Return the training loader: shuffled anew each epoch, incomplete batches left out."""
        ranks = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        sampler = StatefulDistributedSampler(
            self.prepared.train, num_replicas=ranks, rank=rank, shuffle=True, seed=self._seed
        )
        return StatefulDataLoader(
            self.prepared.train,
            batch_size=self._batch_size,
            sampler=sampler,
            num_workers=self._workers,
            drop_last=True,
            generator=torch.Generator().manual_seed(self._seed),
        )

    def val_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Return the held-out blocks in order."""
        return DataLoader(
            self.prepared.validation,
            batch_size=self._batch_size,
            generator=torch.Generator().manual_seed(self._seed),
        )
