"""TransformerModule: any of transformers' causal language models as a Lightning module."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from carbon_trainer.models.recipes import RECIPES, build_model

Batch = dict[str, torch.Tensor]


class TransformerModule(LightningModule):
    """Trains a causal language model with AdamW, linear warm-up and a cosine.

    Args:
        model: the model; batches hold ``input_ids`` of shape (batch, block).
        learning_rate: peak learning rate.
        warmup_steps: steps of linear warm-up.
        max_steps: steps at which the cosine ends.
        weight_decay: AdamW's, on matrices only.
        betas: AdamW's.
        min_lr_ratio: where the cosine ends, as a share of the peak.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        learning_rate: float,
        warmup_steps: int,
        max_steps: int,
        weight_decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.95),
        min_lr_ratio: float = 0.1,
    ) -> None:
        super().__init__()
        self.model = model
        self._learning_rate = learning_rate
        self._warmup_steps = warmup_steps
        self._max_steps = max_steps
        self._weight_decay = weight_decay
        self._betas = betas
        self._min_lr_ratio = min_lr_ratio
        self._validation_loss = torch.zeros(())
        self._validation_batches = 0

    @classmethod
    def from_recipe(
        cls, name: str, *, vocab_size: int | None = None, block_size: int | None = None,
        **settings: Any,
    ) -> TransformerModule:  # fmt: skip
        """Make a module from a recipe's name, with the recipe's settings where none are given.

        Raises:
            InputError: if there is no such recipe.
        """
        recipe = RECIPES.get(name)
        model, _ = build_model(
            name,
            vocab_size=vocab_size or (recipe.vocab_size if recipe else 0),
            block_size=block_size or (recipe.block_size if recipe else 0),
        )
        if recipe:
            settings = {
                "learning_rate": recipe.learning_rate,
                "max_steps": recipe.max_steps,
                "warmup_steps": max(1, recipe.max_steps // 20),
                **settings,
            }
        return cls(model, **settings)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (batch, block, vocabulary)."""
        logits: torch.Tensor = self.model(input_ids=input_ids, use_cache=False).logits
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the mean loss of predicting each token from those before it."""
        loss = self._loss(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=False)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start to add up."""
        self._validation_loss = torch.zeros((), device=self.device)
        self._validation_batches = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch's loss."""
        self._validation_loss += self._loss(batch).detach()
        self._validation_batches += 1

    def on_validation_epoch_end(self) -> None:
        """Log the mean loss, and perplexity as its exponential."""
        if self._validation_batches == 0:
            return
        loss = self._validation_loss / self._validation_batches
        self.log("validation/loss", loss, sync_dist=True)
        self.log("validation/perplexity", torch.exp(loss), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW that decays matrices only, with a schedule by steps."""
        matrices = [p for p in self.parameters() if p.requires_grad and p.dim() >= 2]
        vectors = [p for p in self.parameters() if p.requires_grad and p.dim() < 2]
        groups = [
            {"params": matrices, "weight_decay": self._weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = AdamW(groups, lr=self._learning_rate, betas=self._betas)
        schedule = LambdaLR(optimizer, self.learning_rate_ratio)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def learning_rate_ratio(self, step: int) -> float:
        """Return a step's learning rate over the peak: linear warm-up, then half a cosine."""
        if step < self._warmup_steps:
            return (step + 1) / self._warmup_steps
        span = max(1, self._max_steps - self._warmup_steps)
        done = min(1.0, (step - self._warmup_steps) / span)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self._min_lr_ratio + (1 - self._min_lr_ratio) * cosine

    def tokens_in(self, batch: Batch) -> int:
        """Return how many tokens a batch has."""
        return int(batch["input_ids"].numel())

    def save_pretrained(self, folder: Path) -> None:
        """Write the model so that transformers loads it from ``folder``."""
        self.model.save_pretrained(folder)

    def _loss(self, batch: Batch) -> torch.Tensor:
        ids = batch["input_ids"]
        loss: torch.Tensor = self.model(input_ids=ids, labels=ids, use_cache=False).loss
        return loss
