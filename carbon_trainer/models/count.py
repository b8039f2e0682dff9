"""How many parameters a model has, trains, and sends a token through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Parameters:
    """A model's parameters, those that are shared counted once.

    Attributes:
        architecture: the class of the model, under any adapters.
        all: of the model and its adapters.
        trained: those that the optimizer changes; None for all.
        per_token: those that a token goes through on average; None for all.
    """

    architecture: str
    all: int
    trained: int | None
    per_token: int | None


def count_parameters(model: PreTrainedModel, source_share: float | None = None) -> Parameters:
    """Count a model's parameters.

    Args:
        model: with adapters or without.
        source_share: for an encoder-decoder, which share of the tokens are the source's. These go
            through the encoder, the target's through the decoder with the output layer (Raffel et
            al. 2020, arXiv 1910.10683, section 3.2.2, on an encoder-decoder's cost).
    """
    whole = sum(one.numel() for one in model.parameters())
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    bare: Any = model
    if hasattr(model, "get_base_model"):  # of peft
        bare = bare.get_base_model()
    per_token = None
    if source_share is not None:
        encoder = _in_encoder(bare)
        per_token = round(source_share * encoder + (1 - source_share) * (whole - encoder))
    return Parameters(
        architecture=type(bare).__name__,
        all=whole,
        trained=None if trained == whole else trained,
        per_token=per_token,
    )


def _in_encoder(model: Any) -> int:
    """Count the encoder's own parameters; the embedding that both share is the output layer too."""
    shared = {id(one) for one in model.get_input_embeddings().parameters()}
    own = (one for one in model.get_encoder().parameters() if id(one) not in shared)
    return sum(one.numel() for one in own)
