"""How a model is trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from carbon_trainer.config.base import Count, Positive, Section, setting


class TrainingSettings(Section):
    """Optimizer, arithmetic, validation and checkpoints."""

    title: ClassVar[str] = "Training"

    max_steps: Count | None = setting(None, "Optimizer steps to train for.", "steps")
    batch_size: Count | None = setting(None, "Sequences in a batch, per device.", "blocks")
    accumulate: Count = setting(1, "Gradient accumulation steps.", "batches")
    learning_rate: Positive | None = setting(None, "Peak learning rate of AdamW.")
    min_learning_rate_ratio: float = setting(
        0.1, "Final learning rate of the cosine decay, as a fraction of the peak.", ge=0, le=1
    )
    warmup_steps: int | None = setting(
        None, "Steps of linear warm-up; a twentieth of the steps by default.", "steps", ge=0
    )
    weight_decay: float = setting(0.1, "AdamW's weight decay, on matrices only.", ge=0)
    clip_norm: float = setting(1.0, "Gradient clipping norm; 0 turns it off.", ge=0)
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed"] = setting(
        "auto", "Numeric precision; auto: bf16-mixed where a GPU supports it, else 32-true."
    )
    deterministic: bool = setting(
        False,
        "Use only deterministic kernels: on a GPU a resumed run is bit-identical only with them. "
        "Costs some speed, most in attention.",
    )
    workers: int = setting(0, "DataLoader workers.", "processes", ge=0)
    seed: int = setting(1, "Seed of all random generators.", ge=0, lt=2**32)
    validate_every: Count | None = setting(
        None, "Steps between validations; a fifth of the steps by default.", "steps"
    )
    validation_batches: Count = setting(20, "Maximum number of batches in a validation.", "batches")
    checkpoint_every: Count | None = setting(
        None, "Steps between checkpoints; a fifth of the steps by default.", "steps"
    )
    keep_checkpoints: int = setting(
        3, "How many of the latest checkpoints to keep, in case one is damaged.", "files", ge=2
    )
