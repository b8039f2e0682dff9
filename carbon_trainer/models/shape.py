"""The sizes of a recipe's model, and its number of parameters; without torch.

The formulas follow transformers' modules of each architecture, biases and norms included, so that
they agree exactly with a model that is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OPT_POSITION_OFFSET = 2
"""OPT reserves its first two positions for padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a transformer.

    Attributes:
        architecture: the architecture's name in transformers (``model_type``).
        layers: number of layers.
        width: width of the residual stream.
        heads: query heads.
        query: elements of all heads' queries together.
        key_value: elements of all heads' keys together, and of their values.
        feed_forward: width inside a feed-forward block.
        embedding: width of the token embeddings, which may differ from that of the stream.
        positions: the longest sequence, tokens.
        final_norm: whether a norm follows the last layer.
    """

    architecture: str
    layers: int
    width: int
    heads: int
    query: int
    key_value: int
    feed_forward: int
    embedding: int
    positions: int
    final_norm: bool

    def parameters(self, vocab_size: int) -> int:
        """Return the number of parameters, tied ones once.

        Args:
            vocab_size: tokens in the vocabulary.
        """
        return self.layers * self.layer_parameters() + self.other_parameters(vocab_size)

    def layer_parameters(self) -> int:
        """Return the parameters of one layer."""
        return _FORMULAS[self.architecture][0](self)

    def other_parameters(self, vocab_size: int) -> int:
        """Return the parameters outside the layers: embeddings, the last norm, the head."""
        return _FORMULAS[self.architecture][1](self, vocab_size)


def is_counted(architecture: str) -> bool:
    """Return whether the parameters of an architecture are counted here."""
    return architecture in _FORMULAS


def shape_of(
    architecture: str, config: Mapping[str, Any], names: Mapping[str, str], positions: int
) -> Shape:
    """Read a shape from an architecture's settings.

    Args:
        architecture: its name in transformers.
        config: its settings in transformers.
        names: its names for ``layers``, ``width``, ``heads`` and ``feed_forward``.
        positions: the longest sequence, tokens.
    """
    width, heads = int(config[names["width"]]), int(config[names["heads"]])
    head = int(config.get("head_dim", width // heads))
    return Shape(
        architecture=architecture,
        layers=int(config[names["layers"]]),
        width=width,
        heads=heads,
        query=heads * head,
        key_value=int(config.get("num_key_value_heads", heads)) * head,
        feed_forward=int(config[names["feed_forward"]]),
        embedding=int(config.get("word_embed_proj_dim", width)),
        positions=positions,
        final_norm=bool(config.get("do_layer_norm_before", True)),
    )


def _with_biases(shape: Shape) -> int:
    """Attention and feed-forward with biases, two layer norms: GPT-2, GPT-NeoX, OPT."""
    width, inner = shape.width, shape.feed_forward
    attention = 4 * width * width + 4 * width
    return attention + 2 * width * inner + inner + width + 4 * width


def _gated(shape: Shape) -> int:
    """Attention and SwiGLU without biases; norms are counted separately."""
    attention = 2 * shape.width * (shape.query + shape.key_value)
    return attention + 3 * shape.width * shape.feed_forward


def _opt_other(shape: Shape, vocab_size: int) -> int:
    positions = (shape.positions + OPT_POSITION_OFFSET) * shape.width
    between = 0 if shape.embedding == shape.width else 2 * shape.embedding * shape.width
    norm = 2 * shape.width if shape.final_norm else 0
    return vocab_size * shape.embedding + positions + between + norm


_Layer = Callable[[Shape], int]
_Other = Callable[[Shape, int], int]

# Outside the layers: GPT-2, OPT and Cohere tie the output layer to the embedding, so the vocabulary
# counts once; GPT-NeoX and Llama do not. Cohere has one norm a layer, as attention and feed-forward
# are parallel.
_FORMULAS: Mapping[str, tuple[_Layer, _Other]] = {
    "gpt_neox": (_with_biases, lambda shape, vocab: 2 * vocab * shape.width + 2 * shape.width),
    "gpt2": (_with_biases, lambda shape, vocab: (vocab + shape.positions + 2) * shape.width),
    "opt": (_with_biases, _opt_other),
    "llama": (
        lambda shape: _gated(shape) + 2 * shape.width,
        lambda shape, vocab: 2 * vocab * shape.width + shape.width,
    ),
    "cohere": (
        lambda shape: _gated(shape) + shape.width,
        lambda shape, vocab: (vocab + 1) * shape.width,
    ),
}
"""By architecture: the parameters of a layer, and all others by the size of the vocabulary."""
