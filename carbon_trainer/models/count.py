"""Counts parameters: all, trained, and used per token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of a model's parameters, shared ones counted once.

    Attributes:
        architecture: the model's class, without adapters.
        all: parameters of the model and its adapters.
        trained: those that the optimizer changes; None for all.
        per_token: those that a token passes through on average; None for all.
    """

    architecture: str
    all: int
    trained: int | None
    per_token: int | None


def count_parameters(model: PreTrainedModel, source_share: float | None = None) -> Parameters:
    """Count a model's parameters.

    Args:
        model: with adapters or without.
        source_share: for an encoder-decoder, the sources' share of the tokens. These pass
            through the encoder, the target's through the decoder with the output layer (Raffel et
            al. 2020, arXiv 1910.10683, section 3.2.2, on an encoder-decoder's cost).
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    base: Any = model
    if hasattr(model, "get_base_model"):  # of peft
        base = base.get_base_model()
    per_token = None
    if source_share is not None:
        encoder = _encoder_parameters(base)
        per_token = round(source_share * encoder + (1 - source_share) * (total - encoder))
    return Parameters(
        architecture=type(base).__name__,
        all=total,
        trained=None if trained == total else trained,
        per_token=per_token,
    )


def _encoder_parameters(model: Any) -> int:
    """Count the encoder's own parameters, without the embedding that it shares.

    The embedding is a lookup for the encoder, but where it is tied to the output layer the decoder
    multiplies by it for every token: it counts there.
    """
    shared = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    own = (
        parameter for parameter in model.get_encoder().parameters() if id(parameter) not in shared
    )
    return sum(parameter.numel() for parameter in own)
