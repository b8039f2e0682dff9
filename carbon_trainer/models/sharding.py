"""Spreading a model over ranks: each holds a part of every layer, and of the optimizer's state.

Sharding is torch's second FSDP (``fully_shard``), which shards over gloo on CPUs as over NCCL on
GPUs; Lightning's FSDPStrategy wraps the first, which needs a GPU.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from carbon_trainer.models.tensor_parallel import check_split, split


def spread_over(ranks: int, tensor_parallel: int) -> ModelParallelStrategy:
    """Return the strategy of ``--strategy fsdp`` and ``--tensor-parallel``.

    Checkpoints are whole files, gathered on rank 0, so that a run can go on with other ranks.

    Args:
        ranks: processes of the run, all machines together.
        tensor_parallel: how many neighbouring ones split each layer; divides ``ranks``.
    """
    return ModelParallelStrategy(
        data_parallel_size=ranks // tensor_parallel,
        tensor_parallel_size=tensor_parallel,
        save_distributed_checkpoint=False,
    )


def spread(model: PreTrainedModel, mesh: DeviceMesh) -> None:
    """Split a model in place over one dimension of ranks, then shard it over the other.

    Args:
        model: the same on every rank, and whole.
        mesh: Lightning's, of dimensions ``data_parallel`` and ``tensor_parallel``.

    Raises:
        InputError: if it cannot be split.
    """
    splitting, sharing = mesh["tensor_parallel"], mesh["data_parallel"]
    if splitting.size() > 1:
        check_split(model, splitting.size())
        split(model, splitting)
    # Where layers are split, one share of the data leaves nothing to shard.
    if sharing.size() > 1 or splitting.size() == 1:
        shard(model, sharing)


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a model in place: each of its repeated layers by itself, then what is left.

    Args:
        model: its repeated layers are in a list, as in transformers.
        mesh: the ranks.
    """
    for stack in _stacks(model):
        lists = [module for module in stack.modules() if isinstance(module, nn.ModuleList)]
        layers = max(lists, key=_parameters, default=nn.ModuleList())
        for layer in layers:
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _stacks(model: nn.Module) -> list[nn.Module]:
    """Return encoder and decoder where a model has both, else the model."""
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return [model]
    both: Any = model
    return [both.get_encoder(), both.get_decoder()]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
