"""LoRA: small trained matrices added to the frozen ones of a pretrained model, through ``peft``.

Hu et al. 2021, arXiv 2106.09685: a layer's W x becomes W x + (alpha / rank) B A x, with only A and
B trained.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.errors import InputError
from carbon_trainer.models.recipes import recipes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FOLDER = "adapter"
"""Subfolder, beside the model's config, with the adapters' settings, which export needs."""

ALL_LINEAR = "all-linear"

LEARNING_RATE = 2e-4
"""The default: that of the paper's GPT-2 and GPT-3 (tables 11 and 12)."""


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Settings of a model's adapters.

    Attributes:
        rank: the rank of A and B.
        alpha: their scale, times the rank.
        dropout: dropout before A.
        targets: comma-separated names of layers; ``all-linear`` for all but the output layer.
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: str = ALL_LINEAR


def check_lora(model: str, *, strategy: str) -> None:
    """Check the settings of a LoRA training without loading anything.

    Args:
        model: the model to be trained.
        strategy: how devices share the work.

    Raises:
        InputError: if the model has random weights, peft is missing, or the model is sharded.
    """
    if model in recipes() or not Path(model).is_dir():
        raise InputError(
            f"--lora-rank needs pretrained weights, and {model} starts with random ones, which "
            "small matrices cannot replace: give a pretrained folder with --model."
        )
    if strategy == "fsdp":
        raise InputError(
            "--lora-rank cannot be combined with --strategy fsdp: use ddp, which copies the model "
            "to each device."
        )
    check_installed()


def check_installed() -> None:
    """Raise an InputError that says how to install peft, if it is not installed."""
    if find_spec("peft") is None:
        raise InputError("LoRA needs peft: pip install 'carbon-trainer[lora]'.")


def with_lora(model: PreTrainedModel, settings: LoraSettings) -> PreTrainedModel:
    """Freeze a model and add adapters to it, which at first change nothing, as B is zero.

    Args:
        model: changed in place.
        settings: the adapters' settings.

    Raises:
        InputError: if peft is missing or the model has no such layers.
    """
    check_installed()
    from peft import LoraConfig, TaskType

    names = [name.strip() for name in settings.targets.split(",") if name.strip()]
    is_pair = bool(getattr(model.config, "is_encoder_decoder", False))
    return _wrapped(
        model,
        settings.targets,
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]
            lora_dropout=settings.dropout,
            target_modules=ALL_LINEAR if names == [ALL_LINEAR] else names,
            task_type=TaskType.SEQ_2_SEQ_LM if is_pair else TaskType.CAUSAL_LM,
        ),
    )


def restore_lora(model: PreTrainedModel, settings: Path) -> PreTrainedModel:
    """Add adapters to a model as they were in training; their weights are random.

    Args:
        model: changed in place.
        settings: the folder that ``save_lora_settings`` wrote to.
    """
    check_installed()
    from peft import LoraConfig

    config: Any = LoraConfig.from_pretrained(str(settings / FOLDER))
    # The adapters belong to the model that was trained on, not to the run's folder.
    model.name_or_path = config.base_model_name_or_path
    return _wrapped(model, str(config.target_modules), config)


def has_lora(settings: Path) -> bool:
    """Return whether a run's model has adapters."""
    return (settings / FOLDER / "adapter_config.json").is_file()


def save_lora_settings(model: Any, folder: Path) -> None:
    """Write the settings of a model's adapters, if it has any.

    Args:
        model: with adapters or without.
        folder: the folder of the model's config.
    """
    adapters: dict[str, Any] = getattr(model, "peft_config", {})
    for adapter in adapters.values():
        adapter.save_pretrained(str(folder / FOLDER))


def merge_adapters(model: Any) -> PreTrainedModel:
    """Return the model with the adapters added to its weights."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapters alone, for ``peft.PeftModel.from_pretrained``."""
    # By default peft asks the hub whether the vocabulary was extended.
    model.save_pretrained(folder, save_embedding_layers=False)


def _wrapped(model: PreTrainedModel, targets: str, config: Any) -> PreTrainedModel:
    from peft import get_peft_model

    try:
        with warnings.catch_warnings():
            # GPT-2 stores its matrices transposed; peft warns about it and handles it.
            warnings.filterwarnings("ignore", message=".*fan_in_fan_out.*")
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            wrapped: Any = get_peft_model(model, config)
    except ValueError as error:
        layers = sorted({name.rpartition(".")[2] for name, _ in model.named_modules() if name})
        raise InputError(
            f"no adapters can be added to --lora-targets {targets}: "
            f"{' '.join(str(error).split())[:200].rstrip('.')}. The model's modules are "
            f"{', '.join(layers[:30])}."
        ) from error
    adapted: PreTrainedModel = wrapped
    return adapted
