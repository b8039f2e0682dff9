"""Recipes: architectures in named sizes, each a YAML file in ``architectures/`` with sources."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import yaml

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.models.shape import Shape, is_counted, shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Task = Literal["causal", "seq2seq"]
"""What a model is trained to predict: a text's next token, or one text from another."""

END_OF_TEXT = 0
"""In tokenizers that are trained here for texts, the token that ends a document is the first."""

PADDING, END_OF_TARGET = 0, 1
"""Those for pairs start like T5's: padding, which also starts a target, then the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An architecture in one size, and the settings that suit it.

    Attributes:
        family: the recipe's name without its size.
        architecture: the architecture's name in transformers (``model_type``).
        config: its settings in transformers, without vocabulary and positions.
        names: the architecture's names for layers, width, heads, feed-forward and positions.
        task: what it is trained to predict.
        vocab_size: size of the vocabulary, tokens.
        block_size: length of a training sequence, tokens.
        batch_size: sequences in a batch of one device.
        learning_rate: AdamW's peak.
        max_steps: optimizer steps.
        sources: references for shapes and settings, by size.
    """

    family: str
    architecture: str
    config: Mapping[str, Any]
    names: Mapping[str, str]
    task: Task
    vocab_size: int
    block_size: int
    batch_size: int
    learning_rate: float
    max_steps: int
    sources: Mapping[str, str]

    def to_config(
        self, *, vocab_size: int | None = None, block_size: int | None = None
    ) -> PreTrainedConfig:
        """Return its config for transformers.

        Args:
            vocab_size: tokens in the vocabulary; the recipe's own if not given.
            block_size: length of a training sequence, tokens; positions are no fewer than the
                recipe's own.
        """
        from transformers import AutoConfig

        # Relative positions, such as T5's, have no maximum.
        name = self.names.get("positions")
        positions = {name: max(self.block_size, block_size or 0)} if name else {}
        return AutoConfig.for_model(
            self.architecture,
            **self.config,
            **positions,
            **_special_tokens(self.task),
            vocab_size=vocab_size or self.vocab_size,
            use_cache=False,
        )

    @property
    def shape(self) -> Shape | None:
        """Its sizes; None where the parameters of its architecture are not counted here."""
        if not is_counted(self.architecture):
            return None
        return shape_of(self.architecture, self.config, self.names, self.block_size)

    def parameters(self, vocab_size: int | None = None) -> int:
        """Return the number of parameters, tied ones once; nothing is allocated.

        Args:
            vocab_size: tokens in the vocabulary; the recipe's own if not given.
        """
        shape = self.shape
        if shape is not None:
            return shape.parameters(vocab_size or self.vocab_size)
        return self.built_parameters(vocab_size)

    def built_parameters(self, vocab_size: int | None = None) -> int:
        """Count the parameters of a model that is built on torch's meta device, without memory.

        Args:
            vocab_size: tokens in the vocabulary; the recipe's own if not given.
        """
        import torch

        config = self.to_config(vocab_size=vocab_size)
        with torch.device("meta"):
            model = auto_class(config).from_config(config)
        return sum(parameter.numel() for parameter in model.parameters())


def auto_class(config: PreTrainedConfig) -> Any:
    """Return the class of transformers that builds and loads the model of a config."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    is_pair = getattr(config, "is_encoder_decoder", False)
    return AutoModelForSeq2SeqLM if is_pair else AutoModelForCausalLM


def _special_tokens(task: Task) -> dict[str, int | None]:
    if task == "seq2seq":
        return {
            "pad_token_id": PADDING,
            "decoder_start_token_id": PADDING,
            "eos_token_id": END_OF_TARGET,
        }
    return {
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
        # Blocks are full, and a padding token's embedding would never be trained.
        "pad_token_id": None,
    }


@functools.cache
def recipes() -> Mapping[str, Recipe]:
    """Return the recipes by name (``opt-1.3b``), each family's smallest first."""
    by_name: dict[str, Recipe] = {}
    folder = resources.files("carbon_trainer.models") / "architectures"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            family = yaml.safe_load(file.read_text(encoding="utf-8"))
            name = file.name.removesuffix(".yaml")
            for size, values in family["sizes"].items():
                by_name[f"{name}-{size}"] = _recipe(name, family, values)
    return MappingProxyType(by_name)


UNPUBLISHED = re.compile(
    r"(gpt-?(3\.5|4|5)|o[134]|claude|gemini-?(pro|ultra|[123])|grok-?[234])(?=$|[-.o])"
)
"""Models whose makers have published neither size nor shape."""


def unpublished_hint(name: str) -> str:
    """Return why a model of unpublished size cannot be trained here; empty for other models.

    Args:
        name: the model, as the user gave it.
    """
    if not UNPUBLISHED.match(re.sub(r"[\s_]+", "-", name.casefold())):
        return ""
    return (
        f"the size and shape of {name} are not published, so it cannot be trained here; a training "
        "of assumed size can be estimated: carbon-train estimate --params 280e9 --tokens 13e12 "
        "(your own assumption)."
    )


def recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        InputError: if there is no such recipe.
    """
    by_name = recipes()
    if name not in by_name:
        if hint := unpublished_hint(name):
            raise InputError(hint)
        raise InputError(
            f"there is no recipe {name!r}.{did_you_mean(name, by_name)} There are "
            f"{', '.join(by_name)}."
        )
    return by_name[name]


def _recipe(name: str, family: Mapping[str, Any], size: Mapping[str, Any]) -> Recipe:
    names, settings = family["names"], {**family["shared"], **size}
    shape = {
        names["layers"]: settings["layers"],
        names["width"]: settings["width"],
        names["heads"]: settings["heads"],
        names["feed_forward"]: settings.get("feed_forward", 4 * settings["width"]),
    }
    return Recipe(
        family=name,
        architecture=family["architecture"],
        config={**shape, **family.get("config", {}), **size.get("config", {})},
        names=names,
        task=family.get("task", "causal"),
        vocab_size=settings["vocab_size"],
        block_size=settings["block_size"],
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        max_steps=settings["max_steps"],
        sources=family["sources"],
    )
