"""Named GPT-NeoX architectures, and how a model is found by name or path. Never by network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An architecture and the settings that suit it.

    Attributes:
        layers: transformer layers.
        width: hidden size.
        heads: attention heads.
        vocab_size: size of the vocabulary, tokens.
        block_size: length of a training sequence, tokens.
        batch_size: sequences in a batch.
        learning_rate: AdamW's peak.
        max_steps: optimizer steps.
    """

    layers: int
    width: int
    heads: int
    learning_rate: float
    vocab_size: int = 50_304
    block_size: int = 2048
    batch_size: int = 8
    max_steps: int = 143_000


RECIPES: dict[str, Recipe] = {
    "gpt-neox-tiny": Recipe(
        layers=4, width=160, heads=4, learning_rate=3e-3,
        vocab_size=2048, block_size=128, batch_size=16, max_steps=400,
    ),
    "gpt-neox-14m": Recipe(layers=6, width=128, heads=4, learning_rate=1e-3),
    "gpt-neox-31m": Recipe(layers=6, width=256, heads=8, learning_rate=1e-3),
    "gpt-neox-70m": Recipe(layers=6, width=512, heads=8, learning_rate=1e-3),
    "gpt-neox-125m": Recipe(layers=12, width=768, heads=12, learning_rate=6e-4),
    "gpt-neox-160m": Recipe(layers=12, width=768, heads=12, learning_rate=6e-4),
    "gpt-neox-410m": Recipe(layers=24, width=1024, heads=16, learning_rate=3e-4),
    "gpt-neox-1b": Recipe(layers=16, width=2048, heads=8, learning_rate=3e-4),
    "gpt-neox-1.4b": Recipe(layers=24, width=2048, heads=16, learning_rate=2e-4),
    "gpt-neox-2.8b": Recipe(layers=32, width=2560, heads=32, learning_rate=1.6e-4),
    "gpt-neox-6.9b": Recipe(layers=32, width=4096, heads=32, learning_rate=1.2e-4),
    "gpt-neox-12b": Recipe(layers=36, width=5120, heads=40, learning_rate=1.2e-4),
    "gpt-neox-20b": Recipe(layers=44, width=6144, heads=64, learning_rate=0.97e-4),
}  # fmt: skip
"""Shapes and learning rates of Pythia (Biderman et al. 2023, arXiv 2304.01373, tables 1 and 6) and
of GPT-NeoX-20B (Black et al. 2022, arXiv 2204.06745, table 1); ``tiny`` is our own, for two CPU
cores."""


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """Where a model came from.

    Attributes:
        name: as the user named it.
        pretrained: whether its weights were trained before.
    """

    name: str
    pretrained: bool


def check_model_name(model: str) -> None:
    """Check what can be checked of a model's name without loading anything.

    Raises:
        InputError: if it is no recipe and no path.
    """
    if model in RECIPES:
        return
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"the model folder {path} has no config.json.")
        return
    if path.is_file():
        return
    hint = did_you_mean(model, RECIPES)
    raise InputError(
        f"there is no model {model!r}.{hint} Give a recipe ({', '.join(list(RECIPES)[:4])} …), a "
        "local folder of a pretrained model, or a transformers config.json; nothing is downloaded."
    )


def build_model(
    name: str, *, vocab_size: int, block_size: int
) -> tuple[PreTrainedModel, ModelOrigin]:
    """Make a causal language model, in training mode.

    Args:
        name: a recipe's name, a local pretrained folder, or a transformers config file.
        vocab_size: tokens in the vocabulary; a pretrained model keeps its own.
        block_size: length of a training sequence, tokens.

    Raises:
        InputError: if there is no such model, it is broken, or it is not a causal one.
    """
    check_model_name(name)
    path = Path(name)
    if name in RECIPES:
        model = _from_recipe(RECIPES[name], vocab_size, block_size)
    elif path.is_dir():
        model = _pretrained(path)
    else:
        model = _from_config_file(path, vocab_size)
    _check_fits(model, name, vocab_size, block_size)
    model.train()
    return model, ModelOrigin(name, pretrained=path.is_dir() and name not in RECIPES)


def _from_recipe(recipe: Recipe, vocab_size: int, block_size: int) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, GPTNeoXConfig

    config = GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.width,
        max_position_embeddings=max(recipe.block_size, block_size),
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return model


def _from_config_file(path: Path, vocab_size: int) -> PreTrainedModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config = AutoConfig.for_model(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a transformers config: {_first_line(error)}") from error
    _refuse_encoder_decoder(config, path)
    config.vocab_size = max(int(getattr(config, "vocab_size", 0)), vocab_size)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(f"no model can be made from {path}: {_first_line(error)}") from error
    return model


def _pretrained(folder: Path) -> PreTrainedModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        _refuse_encoder_decoder(AutoConfig.from_pretrained(folder, local_files_only=True), folder)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    except InputError:
        raise
    except Exception as error:
        # safetensors, pickle and transformers each have errors of their own for broken files.
        raise InputError(f"cannot load the model in {folder}: {_first_line(error)}") from error
    return model


def _refuse_encoder_decoder(config: Any, place: Path) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{place} is an encoder-decoder ({config.model_type}); only causal language models can "
            "be trained."
        )


def _check_fits(model: PreTrainedModel, name: str, vocab_size: int, block_size: int) -> None:
    known = int(model.get_input_embeddings().weight.size(0))  # type: ignore[operator]
    if known < vocab_size:
        raise InputError(
            f"the model {name} knows {known} tokens and its tokenizer has {vocab_size}: they do "
            "not belong together."
        )
    longest = getattr(model.config, "max_position_embeddings", None)
    if isinstance(longest, int) and 0 < longest < block_size:
        raise InputError(
            f"the model {name} takes at most {longest} tokens at a time, and block_size is "
            f"{block_size}: lower it."
        )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".") + "."
