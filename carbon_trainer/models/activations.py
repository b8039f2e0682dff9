"""Bytes that autograd saves in each layer for the backward pass, by architecture and precision.

In proportion to tokens x layers, as in Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1).
Their 34 bytes per token and unit of width are those of Megatron's fused kernels. transformers'
modules save more, so the bytes of each architecture are counted here with saved-tensor hooks, and
a test counts them again. Their term in the square of the sequence is absent, as attention is fused
(scaled_dot_product_attention), except on CPUs for architectures with dropout in attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbon_trainer.models.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedBytes:
    """Bytes per token that a layer saves for its backward pass.

    Attributes:
        width: for each unit of the residual stream's width.
        query: for each element of the queries, where their size differs from the width.
        key_value: for each element of the keys, likewise.
        feed_forward: for each unit of the feed-forward block's width.
        scores: for each head and earlier token, where attention is not fused.
    """

    width: int
    query: int = 0
    key_value: int = 0
    feed_forward: int
    scores: int = 0

    def bytes(self, shape: Shape, block_size: int, *, fused: bool) -> int:
        """Return the bytes of one token in one layer."""
        return (
            self.width * shape.width
            + self.query * shape.query
            + self.key_value * shape.key_value
            + self.feed_forward * shape.feed_forward
            + HEAD_BYTES * shape.heads
            + (0 if fused else self.scores * shape.heads * block_size)
        )


HEAD_BYTES = 4
"""Per head and token: the log-sum-exp that fused attention saves."""

FULL, MIXED, HALF = "32-true", "bf16-mixed", "bf16-true"

SAVED_BYTES: Mapping[str, Mapping[str, SavedBytes]] = {
    "gpt_neox": {
        FULL: SavedBytes(width=40, feed_forward=8),
        MIXED: SavedBytes(width=22, feed_forward=4),
        HALF: SavedBytes(width=20, feed_forward=4),
    },
    "gpt2": {
        FULL: SavedBytes(width=40, feed_forward=20, scores=12),
        MIXED: SavedBytes(width=30, feed_forward=10, scores=12),
        HALF: SavedBytes(width=26, feed_forward=10, scores=12),
    },
    "opt": {
        FULL: SavedBytes(width=40, feed_forward=4),
        MIXED: SavedBytes(width=28, feed_forward=2),
        HALF: SavedBytes(width=20, feed_forward=2),
    },
    "llama": {
        FULL: SavedBytes(width=24, query=8, key_value=8, feed_forward=16),
        MIXED: SavedBytes(width=26, query=4, key_value=4, feed_forward=8),
        HALF: SavedBytes(width=16, query=4, key_value=4, feed_forward=8),
    },
    "cohere": {
        FULL: SavedBytes(width=16, query=8, key_value=8, feed_forward=16),
        MIXED: SavedBytes(width=22, query=4, key_value=4, feed_forward=8),
        HALF: SavedBytes(width=14, query=4, key_value=4, feed_forward=8),
    },
}
"""By architecture and precision; counted with torch 2.13 and transformers 5.

Mixed precision is not half of full: autograd saves the float32 inputs of norms and, beside them,
the 16-bit copies that matrix products take."""
