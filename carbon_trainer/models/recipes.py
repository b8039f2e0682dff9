"""Named GPT-NeoX architectures, and how a model is found by name or path. Never by network."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

FLOAT32_BYTES = 4


PADDED = 50_304
"""GPT-NeoX's vocabulary of 50,277 tokens, padded for small models; larger ones pad further."""


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
    vocab_size: int = PADDED
    block_size: int = 2048
    batch_size: int = 8
    max_steps: int = 143_000

    def parameters(self, vocab_size: int | None = None) -> int:
        """Return how many parameters the model has.

        In each layer the attention has 4 w^2 + 4 w, the feed-forward 8 w^2 + 5 w and two norms
        4 w parameters, w being the width; around the layers there are a norm and, untied, the
        embedding and the head.

        Args:
            vocab_size: tokens in the vocabulary; the recipe's own if not given.
        """
        layer = 12 * self.width**2 + 13 * self.width
        vocabulary = (vocab_size or self.vocab_size) * self.width
        return self.layers * layer + 2 * self.width + 2 * vocabulary


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
    "gpt-neox-6.9b": Recipe(
        layers=32, width=4096, heads=32, learning_rate=1.2e-4, vocab_size=50_432
    ),
    "gpt-neox-12b": Recipe(
        layers=36, width=5120, heads=40, learning_rate=1.2e-4, vocab_size=50_688
    ),
    "gpt-neox-20b": Recipe(
        layers=44, width=6144, heads=64, learning_rate=0.97e-4, vocab_size=50_432,
        max_steps=150_000,
    ),
}  # fmt: skip
"""Shapes, learning rates and steps as published; batch sizes are for one device.

70m to 12b but 125m are Pythia (Biderman et al. 2023, arXiv 2304.01373, table 1), 14m and 31m its
later small members (van der Wal et al. 2025, arXiv 2503.09543), 125m is GPT-3 Small's shape (Brown
et al. 2020, arXiv 2005.14165, table 2.1) as in ``configs/125M.yml`` of EleutherAI/gpt-neox, 20b is
GPT-NeoX-20B (Black et al. 2022, arXiv 2204.06745, table 1). ``tiny`` is our own: 400 steps of it
are a minute and a half on two CPU cores."""


def recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in RECIPES:
        raise InputError(
            f"there is no recipe {name!r}.{did_you_mean(name, RECIPES)} There are "
            f"{', '.join(RECIPES)}."
        )
    return RECIPES[name]


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
    try:
        if path.is_dir():
            if not (path / "config.json").is_file():
                raise InputError(f"the model folder {path} has no config.json.")
            return
        if path.is_file():
            return
    except OSError as error:
        raise InputError(f"cannot read the model {model}: {error.strerror or error}.") from error
    raise InputError(
        f"there is no model {model!r}.{did_you_mean(model, RECIPES)} Give a recipe "
        f"({', '.join(list(RECIPES)[:4])} …), a local folder of a pretrained model, or a "
        f"transformers config.json; nothing is downloaded.{_hub_hint(model)}"
    )


def _hub_hint(model: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return ""
    return (
        f" For one from a hub, fetch it first, e.g. with `hf download {model} --local-dir FOLDER`, "
        "and give that folder."
    )


def build_model(
    name_or_path: str, *, vocab_size: int, block_size: int
) -> tuple[PreTrainedModel, ModelOrigin]:
    """Make a causal language model in float32, in training mode, without any network.

    Args:
        name_or_path: a recipe's name, a local pretrained folder, or a transformers config file.
        vocab_size: tokens in the vocabulary; a pretrained model keeps its own.
        block_size: length of a training sequence, tokens.

    Raises:
        InputError: if there is no such model, it is broken, or it is not a causal one.
    """
    check_model_name(name_or_path)
    path = Path(name_or_path)
    pretrained = name_or_path not in RECIPES and path.is_dir()
    if name_or_path in RECIPES:
        model = _from_recipe(name_or_path, vocab_size, block_size)
    elif pretrained:
        model = _pretrained(path)
    else:
        model = _from_config_file(path, vocab_size)
    _check_fits(model, name_or_path, vocab_size, block_size)
    model.train()
    return model, ModelOrigin(name_or_path, pretrained=pretrained)


def _from_recipe(name: str, vocab_size: int, block_size: int) -> PreTrainedModel:
    from transformers import GPTNeoXConfig

    chosen = RECIPES[name]
    _check_memory(name, chosen.parameters(vocab_size))
    config = GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=chosen.width,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        intermediate_size=4 * chosen.width,
        max_position_embeddings=max(chosen.block_size, block_size),
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    return _from_config(config)


def _check_memory(name: str, parameters: int) -> None:
    """Refuse a model that the system would kill us for, which leaves no message."""
    needed_gb = parameters * FLOAT32_BYTES / 1e9
    there_gb = psutil.virtual_memory().available / 1e9
    if needed_gb > there_gb:
        raise InputError(
            f"the model {name} has {parameters:,} parameters, {needed_gb:,.1f} GB for its weights "
            f"alone, and {there_gb:,.1f} GB of memory are free: take a smaller one."
        )


def _from_config(config: PreTrainedConfig) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    # A config that was saved in half precision would make AdamW step in half precision.
    make: Any = AutoModelForCausalLM.from_config
    model: PreTrainedModel = make(config, dtype=torch.float32, trust_remote_code=False)
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
    _check_causal(config, path)
    try:
        return _from_config(config)
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
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        _check_causal(config, folder)
        load: Any = AutoModelForCausalLM.from_pretrained
        model, loaded = load(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except InputError:
        raise
    except Exception as error:
        # safetensors, pickle and transformers each have errors of their own for broken files.
        raise InputError(f"cannot load the model in {folder}: {_first_line(error)}") from error
    if missing := sorted(loaded["missing_keys"]):
        # transformers would go on with random values in their place.
        raise InputError(
            f"the model in {folder} is not whole: it has no weights {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if len(missing) > 3 else ''}."
        )
    checked: PreTrainedModel = model
    return checked


def _check_causal(config: PreTrainedConfig, place: Path) -> None:
    """Refuse models that see the tokens which they are to predict."""
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{place} is an encoder-decoder ({config.model_type}); only causal language models can "
            "be trained."
        )
    # BERT and its kin become causal only when asked to; GPT-NeoX has the setting without a use.
    if getattr(config, "is_decoder", True) is False and "gpt_neox" not in config.model_type:
        raise InputError(
            f"{place} is an encoder ({config.model_type}) that sees the tokens to be predicted; "
            "only causal language models can be trained: set is_decoder to true in its config."
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
