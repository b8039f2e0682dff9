"""From a training checkpoint to a folder that transformers loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.models.build import model_of
from carbon_trainer.models.lora import has_lora, merge_adapters, restore_lora, save_adapter

FOLDER = "model"
"""Subfolder of a run with the model's config and tokenizer, from its first step on."""

_PREFIX = "model."


def export_model(settings: Path, checkpoint: Path, folder: Path, *, adapter: bool = False) -> int:
    """Write the weights of a checkpoint, with config and tokenizer, for transformers to load.

    A LoRA adapter is merged into the model's weights.

    Args:
        settings: the folder with the model's config and tokenizer.
        checkpoint: a checkpoint in one file.
        folder: where to write; created if it does not exist.
        adapter: write the LoRA adapter alone, for peft, and do not merge it.

    Returns:
        Number of parameters written, tied ones once.

    Raises:
        InputError: if something cannot be read, does not match, or cannot be written.
    """
    from transformers import AutoConfig

    if not (settings / "config.json").is_file():
        raise InputError(
            f"{settings} has no config.json, so the model's shape is unknown: runs write it at "
            "their first step; resume this one for a step, then export it."
        )
    if checkpoint.is_dir():
        raise InputError(
            f"{checkpoint} is sharded, and only a checkpoint in one file can be exported."
        )
    config = AutoConfig.from_pretrained(settings, local_files_only=True, trust_remote_code=False)
    if adapter and not has_lora(settings):
        raise InputError("this run was not trained with --lora-rank: it has no adapter to export.")
    model = _load_model(settings, config, _weights(checkpoint), checkpoint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if adapter:
            save_adapter(model, folder)
            return sum(
                parameter.numel() for parameter in model.parameters() if parameter.requires_grad
            )
        if has_lora(settings):
            model = merge_adapters(model)
        model.save_pretrained(folder)
        if folder.resolve() != settings.resolve():
            _copy_missing(settings, folder)
    except OSError as error:
        raise InputError(
            f"cannot write the model into {folder}: {error.strerror or error}. Give another folder."
        ) from error
    return sum(parameter.numel() for parameter in model.parameters())


def _weights(checkpoint: Path) -> dict[str, Any]:
    import torch

    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        weights = state["state_dict"]
    except Exception as error:
        # torch, zipfile and pickle raise errors of many kinds for a damaged file.
        raise InputError(
            f"{checkpoint} is not a checkpoint of carbon-train ({type(error).__name__})."
        ) from error
    return {
        name.removeprefix(_PREFIX): value
        for name, value in weights.items()
        if name.startswith(_PREFIX)
    }


def _load_model(settings: Path, config: Any, weights: dict[str, Any], checkpoint: Path) -> Any:
    model: Any = model_of(config)
    if has_lora(settings):
        model = restore_lora(model, settings)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{checkpoint} and the config beside it do not match: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    return model


def _copy_missing(settings: Path, folder: Path) -> None:
    """Copy the tokenizer's files; those that the model has just written stay."""
    for file in sorted(settings.iterdir()):
        if file.is_file() and file.suffix in (".json", ".txt", ".model"):
            target = folder / file.name
            if not target.exists():
                shutil.copyfile(file, target)
