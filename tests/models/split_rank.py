"""One of the ranks that split models between them; started by test_tensor_parallel.

For each model it trains three steps unsplit and three steps split, and writes how far they differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from carbon_trainer.models.build import model_of
from carbon_trainer.models.sharding import parallelize
from carbon_trainer.models.tensor_parallel import clip_by_norm

STEPS = 3
CLIP = 0.1
"""Less than any gradient's norm here, so that each step is clipped."""


def config(architecture: str, tied: bool) -> Any:
    from transformers import AutoConfig

    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4}
    own_sizes = {
        "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
        "gpt_neox": {"intermediate_size": 48},
    }.get(architecture, {"intermediate_size": 48, "num_key_value_heads": 2})
    return AutoConfig.for_model(
        architecture, vocab_size=51, max_position_embeddings=16, tie_word_embeddings=tied,
        bos_token_id=0, eos_token_id=0, pad_token_id=None, **sizes, **own_sizes,
    )  # fmt: skip


def whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def train(model: Any, batches: torch.Tensor, clip: Any) -> tuple[list[float], dict[str, Any]]:
    model.train()
    # Not Adam, which hides a gradient that is twice too large.
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for batch in batches:
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        clip(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, {name: whole(p.detach()) for name, p in model.named_parameters()}


def compare(architecture: str, tied: bool) -> dict[str, Any]:
    mesh = init_device_mesh(
        "cpu", (1, dist.get_world_size()), mesh_dim_names=("data_parallel", "tensor_parallel")
    )
    batches = torch.randint(51, (STEPS, 2, 12), generator=torch.Generator().manual_seed(2))
    results = []
    for is_split in (False, True):
        torch.manual_seed(1)
        model: Any = model_of(config(architecture, tied))
        if is_split:
            parallelize(model, mesh)
            split = sum(p.numel() for p in model.parameters() if isinstance(p, DTensor))
        clip = clip_by_norm if is_split else torch.nn.utils.clip_grad_norm_
        results.append(train(model, batches, clip))
    (losses, weights), (split_losses, split_weights) = results
    return {
        "losses": losses,
        "split_losses": split_losses,
        "apart": max(float((weights[n] - split_weights[n]).abs().max()) for n in weights),
        "share_split": split / sum(value.numel() for value in weights.values()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    comparisons = {
        name: compare(name.removesuffix("+tied"), name.endswith("+tied")) for name in sys.argv[2:]
    }
    Path(sys.argv[1], f"rank{dist.get_rank()}.json").write_text(json.dumps(comparisons))
    dist.destroy_process_group()
