"""LoRA: a pretrained model stays as it is, and small matrices beside its own are trained.

Hu et al. 2021 (arXiv 2106.09685), by peft.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from carbon_trainer.config import RunConfig

LEARNING_RATE = 2e-4
"""Hu et al. 2021, tables 11 and 12: what they trained GPT-2 and GPT-3 with."""

ADAPTER_FOLDER = "adapter"
"""Where beside a model's config the adapter's is. In the same folder, transformers would take it
for the adapter of whatever model is put there."""


def check_lora(config: RunConfig) -> None:
    """Check what can be checked of LoRA's settings without loading anything.

    Raises:
        InputError: if the model has no weights to keep, the ranks share one model, or peft is
            missing.
    """
    if config.lora_rank is None:
        return
    if not Path(config.model).is_dir():
        raise InputError(
            f"lora_rank needs a pretrained model's folder, and {config.model} begins with random "
            "weights, which LoRA would leave random: give --model FOLDER, or train without LoRA."
        )
    if config.strategy == "fsdp":
        raise InputError(
            "lora_rank and strategy fsdp do not go together: use --strategy ddp, for which LoRA's "
            "optimizer needs little memory."
        )
    if importlib.util.find_spec("peft") is None:
        raise InputError("lora_rank needs peft: pip install 'carbon-trainer[lora]'.")


def with_adapter(model: Any, rank: int, alpha: int) -> Any:
    """Freeze a model and put random adapters beside all of its linear layers but the head.

    Args:
        model: a pretrained one.
        rank: of the two matrices whose product is learnt.
        alpha: the product is scaled by alpha / rank.

    Raises:
        InputError: if it has no layer that peft can put one beside.
    """
    from peft import LoraConfig

    # GPT-2's layers keep their weights the other way round.
    is_transposed = model.config.model_type == "gpt2"
    settings = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, target_modules="all-linear",
        fan_in_fan_out=is_transposed,
    )  # fmt: skip
    try:
        return _joined(model, settings)
    except ValueError as error:
        message = " ".join(str(error).split())[:200]
        raise InputError(f"LoRA cannot be used with this model: {message}") from error


def keep_adapter_settings(model: Any, folder: Path) -> None:
    """Write an adapter's settings beside its model's config; nothing for a model without one."""
    settings = getattr(model, "peft_config", None)
    if settings:
        settings["default"].save_pretrained(str(folder / ADAPTER_FOLDER))


def has_adapter(folder: Path) -> bool:
    """Say whether the model whose config is in a folder was trained with an adapter."""
    return (folder / ADAPTER_FOLDER / "adapter_config.json").is_file()


def with_kept_adapter(model: Any, folder: Path) -> Any:
    """Put the adapter beside a model whose settings ``keep_adapter_settings`` has written."""
    from peft import LoraConfig

    settings = LoraConfig.from_pretrained(str(folder / ADAPTER_FOLDER))
    model.name_or_path = settings.base_model_name_or_path
    return _joined(model, settings)


def _joined(model: Any, settings: Any) -> Any:
    from peft import get_peft_model

    with warnings.catch_warnings():
        # peft asks transformers for a name that it is about to change.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        return get_peft_model(model, settings)


def architecture_of(model: Any) -> str:
    """Return the name of a model's class, that of the model beside the adapters if there are."""
    return type(model.get_base_model() if hasattr(model, "get_base_model") else model).__name__
