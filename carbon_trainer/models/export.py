"""From a training checkpoint to a folder that transformers loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.models.build import model_of
from carbon_trainer.models.lora import has_adapter, with_kept_adapter

FOLDER = "model"
"""Where in a run's folder the model's config and tokenizer are kept from its first step on."""

_PREFIX = "model."


def export_model(settings: Path, checkpoint: Path, folder: Path, *, adapter: bool = False) -> int:
    """Write the weights of a checkpoint, with config and tokenizer, for transformers to load.

    A LoRA adapter is merged into the weights that it was trained beside.

    Args:
        settings: the folder with the model's config and tokenizer.
        checkpoint: a checkpoint in one file.
        folder: where to write; made if it is not there.
        adapter: write the LoRA adapter alone, for peft to load.

    Returns:
        How many parameters were written, tied ones once.

    Raises:
        InputError: if something cannot be read, does not fit together, or cannot be written.
    """
    from transformers import AutoConfig

    if not (settings / "config.json").is_file():
        raise InputError(
            f"{settings} has no config.json, so the model's shape is not known: runs keep it from "
            "their first step on; go on with this one for a step, then export it."
        )
    if checkpoint.is_dir():
        raise InputError(f"{checkpoint} is in shards, and only a checkpoint in one file is taken.")
    adapted = has_adapter(settings)
    if adapter and not adapted:
        raise InputError(
            "the run was trained without LoRA, so it has no adapter: export the model."
        )
    config = AutoConfig.from_pretrained(settings, local_files_only=True, trust_remote_code=False)
    model: Any = model_of(config)
    if adapted:
        model = with_kept_adapter(model, settings)
    _fill(model, _weights(checkpoint), checkpoint)
    if adapted and not adapter:
        model = model.merge_and_unload()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        if folder.resolve() != settings.resolve():
            _copy_missing(settings, folder, without="config.json" if adapter else None)
    except OSError as error:
        raise InputError(
            f"cannot write the model into {folder}: {error.strerror or error}. Give another folder."
        ) from error
    written = (p.numel() for p in model.parameters() if p.requires_grad or not adapter)
    return sum(written)


def _weights(checkpoint: Path) -> dict[str, Any]:
    import torch

    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        weights = state["state_dict"]
    except Exception as error:
        # Each kind of damage has an error of its own.
        raise InputError(
            f"{checkpoint} is not a checkpoint of carbon-train ({type(error).__name__})."
        ) from error
    return {
        name.removeprefix(_PREFIX): value
        for name, value in weights.items()
        if name.startswith(_PREFIX)
    }


def _fill(model: Any, weights: dict[str, Any], checkpoint: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{checkpoint} and the config beside it are not of one model: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error


def _copy_missing(settings: Path, folder: Path, *, without: str | None) -> None:
    """Bring the tokenizer along; what the model itself has just written stays."""
    for file in sorted(settings.iterdir()):
        if file.name != without and file.is_file() and file.suffix in (".json", ".txt", ".model"):
            target = folder / file.name
            if not target.exists():
                shutil.copyfile(file, target)
