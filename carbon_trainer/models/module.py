"""TransformerModule: any of transformers' language models as a Lightning module."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from carbon_trainer.models.build import build_model
from carbon_trainer.models.lora import save_lora_settings
from carbon_trainer.models.recipes import recipe

Batch = dict[str, Any]

IGNORED_LABEL = -100
"""The label of a token that the loss ignores, as in transformers and torch's cross_entropy."""


class Saveable(Protocol):
    """A tokenizer of this package or of transformers."""

    def save_pretrained(self, folder: Path) -> object:
        """Write it into a folder."""


class TransformerModule(LightningModule):
    """Trains a language model with AdamW, linear warm-up and a cosine.

    A batch has ``input_ids`` of shape (batch, block) and may have ``labels`` and
    ``attention_mask`` of the same shape; without ``labels``, every token is a label. An
    encoder-decoder's ``labels`` are its targets, of any shape (batch, target), and must be there.
    ``tokens`` is the number of tokens without padding of a padded batch, as an int on the host.

    Args:
        model: the model.
        learning_rate: peak learning rate.
        warmup_steps: optimizer steps of linear warm-up.
        max_steps: optimizer steps at which the cosine ends.
        weight_decay: AdamW's, on weights of two or more dimensions only.
        betas: AdamW's decay rates of its moments.
        min_lr_ratio: where the cosine ends, as a share of the peak.
        tokenizer: written beside the model by ``save_pretrained``.
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
        tokenizer: Saveable | None = None,
    ) -> None:
        super().__init__()
        # transformers' from_pretrained returns a model in evaluation mode, without dropout, and
        # Lightning does not change a module's mode.
        self.model: PreTrainedModel = model.train()
        self._learning_rate = learning_rate
        self._warmup_steps = warmup_steps
        self._max_steps = max_steps
        self._weight_decay = weight_decay
        self._betas = betas
        self._min_lr_ratio = min_lr_ratio
        self._tokenizer = tokenizer
        self._validation_sums = torch.zeros(2)

    @classmethod
    def from_recipe(
        cls, name: str, *, vocab_size: int | None = None, block_size: int | None = None,
        **settings: Any,
    ) -> TransformerModule:  # fmt: skip
        """Make a module from a recipe's name, with the recipe's settings as defaults.

        Args:
            name: a recipe's, such as ``gpt-neox-tiny``.
            vocab_size: tokens in the vocabulary.
            block_size: length of a training sequence, tokens.
            **settings: any of the module's own arguments.

        Raises:
            InputError: if there is no such recipe.
        """
        defaults = recipe(name)
        model, _ = build_model(
            name,
            vocab_size=vocab_size or defaults.vocab_size,
            block_size=block_size or defaults.block_size,
        )
        settings.setdefault("learning_rate", defaults.learning_rate)
        settings.setdefault("max_steps", defaults.max_steps)
        settings.setdefault("warmup_steps", max(1, int(settings["max_steps"]) // 20))
        return cls(model, **settings)

    def configure_model(self) -> None:
        """Split and shard the model where the strategy has a mesh of ranks."""
        mesh = self.device_mesh
        if mesh is not None:
            from carbon_trainer.models.sharding import parallelize

            parallelize(self.model, mesh)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, or over all devices where layers are split."""
        mesh = self.device_mesh
        by_norm = gradient_clip_algorithm in (None, "norm")
        if mesh is None or mesh["tensor_parallel"].size() == 1 or not by_norm:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
        elif gradient_clip_val:
            from carbon_trainer.models.tensor_parallel import clip_by_norm

            clip_by_norm(self.parameters(), gradient_clip_val)

    def forward(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (batch, block, vocabulary), or (batch, target, vocabulary).

        Args:
            input_ids: tokens of shape (batch, block).
            **inputs: what else the model takes; an encoder-decoder needs ``labels``.
        """
        logits: torch.Tensor = self.model(input_ids=input_ids, **inputs, use_cache=False).logits
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the mean loss of predicting each label from the tokens before it."""
        loss = self._loss(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=False)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of loss and predicted tokens."""
        self._validation_sums = torch.zeros(2, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch's loss, weighted by the number of tokens that it predicts."""
        # Weighted, as padded batches predict different numbers of tokens: the mean over batches
        # would depend on how rows are batched.
        labels = batch["labels"] if "labels" in batch else batch["input_ids"]
        # A causal model cannot predict a block's first token: it has none before it.
        first = 0 if self.model.config.is_encoder_decoder else 1
        predicted = (labels[:, first:] != IGNORED_LABEL).sum()
        self._validation_sums += torch.stack([self._loss(batch).detach() * predicted, predicted])

    def on_validation_epoch_end(self) -> None:
        """Log the mean loss over all predicted tokens, and perplexity as its exponential."""
        total = self.trainer.strategy.reduce(self._validation_sums, reduce_op="sum")
        loss, predicted = torch.as_tensor(total).unbind()
        if predicted == 0:
            return
        self.log("validation/loss", loss / predicted, sync_dist=True)
        self.log("validation/perplexity", torch.exp(loss / predicted), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with weight decay on matrices only, and a schedule by steps."""
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
        """Return a step's learning rate over the peak: linear warm-up, then half a cosine.

        The cosine is that of Loshchilov and Hutter 2017 (arXiv 1608.03983, equation 5), once.
        """
        if step < self._warmup_steps:
            return (step + 1) / self._warmup_steps
        span = max(1, self._max_steps - self._warmup_steps)
        progress = min(1.0, (step - self._warmup_steps) / span)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self._min_lr_ratio + (1 - self._min_lr_ratio) * cosine

    def tokens_in(self, batch: Batch) -> int:
        """Return the number of tokens in a batch, without padding where the batch has their number.

        Counting them in its tensors would have to wait for the GPU.
        """
        return int(batch["tokens"] if "tokens" in batch else batch["input_ids"].numel())

    def save_settings(self, folder: Path) -> None:
        """Write config and tokenizer without weights, so that a checkpoint can be exported."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.config.save_pretrained(folder)
        save_lora_settings(self.model, folder)
        if self._tokenizer is not None:
            self._tokenizer.save_pretrained(folder)

    def save_pretrained(self, folder: Path) -> None:
        """Write the model, and its tokenizer if there is one, for transformers to load.

        Args:
            folder: where; it can be given to ``carbon-train fit --model``.
        """
        self.model.save_pretrained(folder)
        if self._tokenizer is not None:
            self._tokenizer.save_pretrained(folder)

    def _loss(self, batch: Batch) -> torch.Tensor:
        ids = batch["input_ids"]
        inputs = {"input_ids": ids, "labels": batch.get("labels", ids)}
        if "attention_mask" in batch:
            inputs["attention_mask"] = batch["attention_mask"]
        loss: torch.Tensor = self.model(**inputs, use_cache=False).loss
        return loss
