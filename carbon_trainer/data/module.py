"""TextDataModule: packed blocks for Lightning, in an order that resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

from carbon_trainer.data.shares import share_of
from carbon_trainer.data.tokenize import TokenizedData
from carbon_trainer.errors import InputError

Batch = dict[str, Any]


class ResumableLoader(DataLoader[Batch]):
    """A DataLoader whose state is the epoch and how many of its samples were handed out.

    It counts epochs itself, and each iteration is one. torchdata's StatefulDataLoader would keep
    its iterator's state and take the epoch from Lightning, which goes wrong three times: a state
    saved at the last batch of an epoch makes the next epoch empty; worker processes load ahead in
    the order of epoch 0 before Lightning has set the epoch; and a run that stopped at the ends of
    two epochs has a wrong epoch in Lightning. This state fits any number of workers and any batch
    size.

    Its sampler must be one of torchdata's, which can start in the middle.
    """

    _epoch = 0
    _handed_out = 0
    _resumed = False

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # A generator: nothing here runs, and no worker starts, before the first batch is requested.
        if self._handed_out and not self._resumed:
            self._epoch, self._handed_out = self._epoch + 1, 0
        self._resumed = False
        sampler: Any = self.sampler
        sampler.set_epoch(self._epoch)
        sampler.load_state_dict({"yielded": self._handed_out})
        for batch in super().__iter__():
            # Before the batch is used, so that a checkpoint made while it is in use counts it.
            self._handed_out += self.batch_size or 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position in the data; the end of an epoch is the beginning of the next."""
        if self._handed_out >= len(self) * (self.batch_size or 1):
            return {"epoch": self._epoch + 1, "samples": 0}
        return {"epoch": self._epoch, "samples": self._handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next iteration at a saved position."""
        self._epoch, self._handed_out = state["epoch"], state["samples"]
        self._resumed = True


class TextDataModule(LightningDataModule):
    """Serves tokenized data; the Trainer must be made with ``use_distributed_sampler=False``.

    The training loader saves its position in checkpoints. Both loaders have random generators of
    their own: a DataLoader otherwise draws a seed from torch's global one when its iteration
    starts, and dropout would differ after a resume.

    Args:
        data: blocks or pairs.
        batch_size: blocks in a batch, on each device.
        seed: seed of the order.
        workers: processes that load batches.
        drop_last: whether to leave out an epoch's last batch where it is not full.

    Raises:
        InputError: if there are fewer blocks than a batch has.
    """

    def __init__(
        self,
        data: TokenizedData,
        *,
        batch_size: int,
        seed: int = 1,
        workers: int = 0,
        drop_last: bool = True,
    ) -> None:
        super().__init__()
        self.data = data
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._drop_last = drop_last
        self._collate = data.pairs.collate if data.pairs else None
        self._check_enough(ranks=1)

    def train_dataloader(self) -> ResumableLoader:
        """Return the training loader: shuffled each epoch, with this rank's share."""
        share = share_of(self.trainer)
        self._check_enough(share.count)
        sampler = StatefulDistributedSampler(
            self.data.train,
            num_replicas=share.count,
            rank=share.index,
            shuffle=True,
            seed=self._seed,
        )
        return ResumableLoader(
            cast("Dataset[Batch]", self.data.train),
            batch_size=self._batch_size,
            sampler=sampler,
            num_workers=self._workers,
            drop_last=self._drop_last,
            collate_fn=self._collate,
            generator=torch.Generator().manual_seed(self._seed),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out blocks in order; all of them on every rank."""
        return DataLoader(
            cast("Dataset[Batch]", self.data.validation),
            batch_size=self._batch_size,
            collate_fn=self._collate,
            generator=torch.Generator().manual_seed(self._seed),
        )

    def _check_enough(self, ranks: int) -> None:
        blocks = len(self.data.train)
        if self._drop_last and blocks <= (self._batch_size - 1) * ranks:
            devices = f" on each of {ranks} devices" if ranks > 1 else ""
            unit, remedy = ("rows", "") if self.data.pairs else ("blocks", " or --block-size")
            raise InputError(
                f"the corpus has {blocks} {unit} to train on, too few for a batch of "
                f"{self._batch_size}{devices}: add data, or lower --batch-size{remedy}."
            )
