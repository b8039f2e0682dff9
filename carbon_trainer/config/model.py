"""What is trained: a model, or adapters beside a pretrained one's weights."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from carbon_trainer.config.base import Count, Positive, Section, setting


class ModelSettings(Section):
    """The model and its LoRA adapters."""

    title: ClassVar[str] = "Model"

    model: str = setting(
        "gpt-neox-tiny",
        "Model: a recipe's name (carbon-train recipes), a local folder of a pretrained model, or a "
        "transformers config.json.",
        also="--recipe",
    )
    lora_rank: Count | None = setting(
        None,
        "Train a pretrained model through LoRA adapters of this rank and freeze its own weights; "
        "needs carbon-trainer[lora].",
    )
    lora_alpha: Positive | None = setting(None, "LoRA scaling (alpha); twice the rank by default.")
    lora_dropout: float = setting(0.0, "Dropout before the adapters.", ge=0, lt=1)
    lora_targets: str = setting(
        "all-linear", "Layers that get adapters, by their names in the model: 'q_proj, v_proj'."
    )

    @model_validator(mode="after")
    def _check_lora(self) -> Self:
        if self.lora_alpha is not None and self.lora_rank is None:
            raise ValueError("lora_alpha needs lora_rank: without it there are no adapters")
        return self
