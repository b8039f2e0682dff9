"""Building a model from a recipe's name or a path, without any network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.models.memory import check_weights
from carbon_trainer.models.recipes import auto_class, recipe, recipes, unpublished_hint

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """A model's origin.

    Attributes:
        name: as the user gave it.
        pretrained: whether its weights are pretrained.
    """

    name: str
    pretrained: bool


def check_model_name(model: str) -> None:
    """Check a model's name without loading anything.

    Raises:
        InputError: if it is neither a recipe nor a path of a model.
    """
    names = recipes()
    if model in names:
        return
    path = Path(model)
    try:
        if path.is_dir():
            if not (path / "config.json").is_file():
                raise InputError(f"the model folder {path} has no config.json.")
            return
        if path.is_file():
            return
    except OSError as error:
        raise InputError(f"cannot read the model {model}: {error.strerror or error}.") from error
    if hint := unpublished_hint(model):
        raise InputError(hint)
    raise InputError(
        f"there is no model {model!r}.{did_you_mean(model, names)} Give a recipe "
        f"({', '.join(name for name in names if name.endswith('-tiny'))} …), a local folder of a "
        f"pretrained model, or a transformers config.json; nothing is downloaded.{_hub_hint(model)}"
    )


def _hub_hint(model: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return ""
    return (
        f" For one from a hub, download it first, e.g. with `hf download {model} --local-dir "
        "FOLDER`, and give that folder."
    )


def is_encoder_decoder(model: str) -> bool:
    """Return whether a model is an encoder-decoder, without building it.

    Args:
        model: a recipe's name, a local pretrained folder, or a transformers config file.

    Raises:
        InputError: if there is no such model, or its config cannot be read.
    """
    check_model_name(model)
    if model in recipes():
        return recipe(model).task == "seq2seq"
    path = Path(model)
    values = _read_config(path / "config.json" if path.is_dir() else path)
    if "is_encoder_decoder" in values:
        return bool(values["is_encoder_decoder"])
    from transformers import CONFIG_MAPPING

    # The architecture's default is an attribute of its config class.
    kind = values["model_type"]
    # Not get(): the mapping loads classes lazily, and get() misses those that are not loaded.
    return kind in CONFIG_MAPPING and bool(
        getattr(CONFIG_MAPPING[kind], "is_encoder_decoder", False)
    )


def build_model(
    name_or_path: str, *, vocab_size: int, block_size: int
) -> tuple[PreTrainedModel, ModelOrigin]:
    """Build a language model in float32, in training mode, without any network.

    Args:
        name_or_path: a recipe's name, a local pretrained folder, or a transformers config file.
        vocab_size: tokens in the vocabulary; a pretrained model keeps its own.
        block_size: length of a training sequence, tokens.

    Raises:
        InputError: if there is no such model, it does not fit into memory, it is broken, or
            it is neither causal nor an encoder-decoder.
    """
    check_model_name(name_or_path)
    path = Path(name_or_path)
    is_recipe = name_or_path in recipes()
    pretrained = not is_recipe and path.is_dir()
    if is_recipe:
        check_weights(name_or_path, vocab_size)
        config = recipe(name_or_path).to_config(vocab_size=vocab_size, block_size=block_size)
        model = model_of(config)
    elif pretrained:
        model = _pretrained(path)
    else:
        model = _from_config_file(path, vocab_size)
    _check_fits(model, name_or_path, vocab_size, block_size)
    model.train()
    return model, ModelOrigin(name_or_path, pretrained=pretrained)


def model_of(config: PreTrainedConfig) -> PreTrainedModel:
    """Build a config's language model in float32, with random weights."""
    import torch

    # A config that was saved in half precision would make AdamW step in half precision.
    build = auto_class(config).from_config
    model: PreTrainedModel = build(config, dtype=torch.float32, trust_remote_code=False)
    return model


def _from_config_file(path: Path, vocab_size: int) -> PreTrainedModel:
    from transformers import AutoConfig

    values = _read_config(path)
    try:
        config = AutoConfig.for_model(**values)
        config.vocab_size = max(int(getattr(config, "vocab_size", 0)), vocab_size)
    except Exception as error:
        # Each architecture checks its settings with errors of its own.
        raise InputError(f"{path} is not a transformers config: {_first_line(error)}") from error
    _check_trainable(config, path)
    try:
        return model_of(config)
    except Exception as error:
        raise InputError(f"no model can be made from {path}: {_first_line(error)}") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a transformers config: {_first_line(error)}") from error
    if not isinstance(values, dict) or "model_type" not in values:
        raise InputError(f"{path} is not a transformers config: it has no model_type.")
    return values


def _pretrained(folder: Path) -> PreTrainedModel:
    import torch
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        _check_trainable(config, folder)
        model, loaded = auto_class(config).from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name and size
        )
    except InputError:
        raise
    except Exception as error:
        # safetensors, pickle and transformers each have errors of their own for broken files.
        raise InputError(f"cannot load the model in {folder}: {_first_line(error)}") from error
    if mismatched := sorted(loaded["mismatched_keys"]):
        name, saved, expected = mismatched[0]
        raise InputError(
            f"the model in {folder} does not match its config: weights {name} are "
            f"{_shape_text(saved)}, and by the config {_shape_text(expected)}."
        )
    if missing := sorted(loaded["missing_keys"]):
        # transformers would continue with random values in their place, and only warn.
        raise InputError(
            f"the model in {folder} is incomplete: it has no weights {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if len(missing) > 3 else ''}."
        )
    checked: PreTrainedModel = model
    return checked


def _shape_text(size: Iterable[int]) -> str:
    return " by ".join(map(str, size))


def _check_trainable(config: PreTrainedConfig, place: Path) -> None:
    """Refuse models that see the tokens that they are to predict."""
    if getattr(config, "is_encoder_decoder", False):
        for name in ("decoder_start_token_id", "pad_token_id"):
            if getattr(config, name, None) is None:
                raise InputError(
                    f"{place} is an encoder-decoder ({config.model_type}) without {name}, so "
                    "targets cannot be started: set it in its config, for T5 to 0."
                )
        return
    # BERT-like models are causal only if configured so; GPT-NeoX has the setting but ignores it.
    if getattr(config, "is_decoder", True) is False and "gpt_neox" not in config.model_type:
        raise InputError(
            f"{place} is an encoder ({config.model_type}) that sees the tokens to be predicted; "
            "only causal language models and encoder-decoders can be trained: set is_decoder to "
            "true in its config."
        )


def _check_fits(model: PreTrainedModel, name: str, vocab_size: int, block_size: int) -> None:
    embeddings = int(model.get_input_embeddings().weight.size(0))  # type: ignore[operator]
    if embeddings < vocab_size:
        raise InputError(
            f"the model {name} has {embeddings} token embeddings and its tokenizer {vocab_size} "
            "tokens: they do not match. Put the tokenizer that it was trained with into its folder."
        )
    longest = getattr(model.config, "max_position_embeddings", None)
    if isinstance(longest, int) and 0 < longest < block_size:
        raise InputError(
            f"the model {name} takes at most {longest} tokens at a time, and block_size is "
            f"{block_size}: lower it."
        )


def end_token_warning(model: PreTrainedModel, name: str, end_of_text: int) -> str:
    """Return a warning if a model and its tokenizer end texts differently; empty if not.

    Args:
        model: with its config, which may name several such tokens.
        name: its folder, as the user gave it.
        end_of_text: the tokenizer's token.
    """
    configured = getattr(model.config, "eos_token_id", None)
    end_tokens = configured if isinstance(configured, list) else [configured]
    if configured is None or end_of_text in end_tokens:
        return ""
    return (
        f"by its config {name} ends texts with token {', '.join(map(str, end_tokens))}, and by its "
        f"tokenizer with {end_of_text}, which is trained on: set eos_token_id in config.json, or "
        "eos_token in tokenizer_config.json."
    )


def silence_transformers() -> None:
    """Turn off transformers' progress bars and hints; what matters in them is checked here."""
    from transformers.utils import logging

    untyped: Any = logging
    untyped.disable_progress_bar()
    untyped.set_verbosity_error()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".") + "."
