"""The smallest models that are still real: for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import GPTNeoXConfig, PreTrainedModel


def tiny_config(**settings: Any) -> GPTNeoXConfig:
    from transformers import GPTNeoXConfig

    values = {
        "vocab_size": 300,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 16,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPTNeoXConfig(**{**values, **settings})


def tiny_model(**settings: Any) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(tiny_config(**settings))
