"""Tensor parallelism: each layer's matrices are split over devices that train on the same batches.

The layout is Megatron's (Shoeybi et al. 2019, arXiv 1909.08053, section 3): the first matrix of
each block is split by its outputs, with complete attention heads on a device, and the second by its
inputs, so that a block needs one all-reduce in the forward and one in the backward pass. Embeddings
and norms are complete on each device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from transformers.models.opt.modeling_opt import OPTAttention

from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PreTrainedModel

_OWN_PLANS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "opt": {
            "model.decoder.layers.*.self_attn.q_proj": "colwise",
            "model.decoder.layers.*.self_attn.k_proj": "colwise",
            "model.decoder.layers.*.self_attn.v_proj": "colwise",
            "model.decoder.layers.*.self_attn.out_proj": "rowwise",
            "model.decoder.layers.*.fc1": "colwise",
            "model.decoder.layers.*.fc2": "rowwise",
        }
    }
)
"""For architectures without a plan in transformers."""

_STYLES: Mapping[str, Callable[[], ParallelStyle]] = MappingProxyType(
    {
        "colwise": ColwiseParallel,
        "rowwise": RowwiseParallel,
        "colwise_gather_output": lambda: ColwiseParallel(output_layouts=Replicate()),
    }
)
"""transformers' names of the layouts of matrices; matrices with other layouts are not split."""

SPLITTABLE = ("gpt_neox", "llama", "mistral", "opt", "qwen2")
"""Architectures whose losses and gradients a test compares with those of one device."""


def check_split(model: PreTrainedModel, devices: int) -> None:
    """Check that a model can be split.

    Args:
        model: the complete model, on any device.
        devices: number of devices to split it over.

    Raises:
        InputError: if its architecture cannot be split, or ``devices`` does not divide its sizes.
    """
    config = model.config
    if config.model_type not in SPLITTABLE:
        raise InputError(
            f"--tensor-parallel {devices}: a model of architecture {config.model_type} cannot be "
            f"split over devices, only {', '.join(SPLITTABLE)} can; --strategy fsdp shards any."
        )
    heads = int(config.num_attention_heads)
    counts = {
        "attention heads": heads,
        "key-value heads": int(getattr(config, "num_key_value_heads", None) or heads),
        "units of the feed-forward block": int(
            getattr(config, "intermediate_size", None) or config.ffn_dim
        ),
    }
    for unit, count in counts.items():
        if count % devices:
            fitting = _common_divisors(counts.values())
            advice = f"give {_listed(fitting)}" if fitting else "it can be on one device only"
            raise InputError(
                f"--tensor-parallel {devices} does not divide the model's {count} {unit}: {advice}."
            )


def _common_divisors(counts: Iterable[int]) -> list[int]:
    numbers = list(counts)
    return [n for n in range(2, min(numbers) + 1) if not any(count % n for count in numbers)]


def _listed(numbers: list[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last


def split(model: PreTrainedModel, mesh: DeviceMesh) -> None:
    """Split a model in place, in the same way on all ranks.

    Args:
        model: the complete model, the same on every rank.
        mesh: the ranks that share it, of one dimension.
    """
    plan = _OWN_PLANS.get(model.config.model_type) or model._tp_plan or {}
    styles = {name: _STYLES[style]() for name, style in plan.items() if style in _STYLES}
    if model.config.tie_word_embeddings:
        # The head's weight is the embedding's, which stays complete on each device: splitting
        # one of the two would untie them.
        styles.pop("lm_head", None)
    parallelize_module(model, mesh, styles)
    for module in model.modules():
        # OPT reshapes its projections by the number of heads of the config; the others by the size
        # of the projections themselves, which are split already.
        if isinstance(module, OPTAttention):
            module.num_heads //= mesh.size()


def clip_by_norm(parameters: Iterable[nn.Parameter], max_norm: float) -> None:
    """Scale gradients so that their norm, over all devices, does not exceed a limit.

    torch's own function cannot combine gradients that are split with others that are not: it stacks
    the norms of all, and a DTensor and a plain tensor, or DTensors of two meshes, do not stack.

    Args:
        parameters: the model's; those without a gradient are skipped.
        max_norm: the limit.
    """
    groups: dict[DeviceMesh | None, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            grad = parameter.grad
            mesh = grad.device_mesh if isinstance(grad, DTensor) else None
            groups.setdefault(mesh, []).append(parameter)
    if not groups:
        return
    total = torch.stack([_norm(group) for group in groups.values()]).norm()
    for group in groups.values():
        clip_grads_with_norm_(group, max_norm, total)


def _norm(parameters: list[nn.Parameter]) -> torch.Tensor:
    """Return the norm of gradients of one mesh, the same on all of its devices."""
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
