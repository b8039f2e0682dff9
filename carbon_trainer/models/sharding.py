"""Distributes a model over ranks: each holds a part of each layer and of the optimizer's state.

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


def model_parallel_strategy(ranks: int, tensor_parallel: int) -> ModelParallelStrategy:
    """Return the strategy of ``--strategy fsdp`` and ``--tensor-parallel``.

    Checkpoints are single files, gathered on rank 0, so that a run can be resumed with another
    number of ranks.

    Args:
        ranks: processes of the run on all machines.
        tensor_parallel: number of neighbouring ranks that split each layer; divides ``ranks``.
    """
    return ModelParallelStrategy(
        data_parallel_size=ranks // tensor_parallel,
        tensor_parallel_size=tensor_parallel,
        save_distributed_checkpoint=False,
    )


def parallelize(model: PreTrainedModel, mesh: DeviceMesh) -> None:
    """Split a model in place over one dimension of ranks, then shard it over the other.

    Args:
        model: the complete model, the same on every rank.
        mesh: Lightning's, of dimensions ``data_parallel`` and ``tensor_parallel``.

    Raises:
        InputError: if it cannot be split.
    """
    tensor_mesh, data_mesh = mesh["tensor_parallel"], mesh["data_parallel"]
    if tensor_mesh.size() > 1:
        check_split(model, tensor_mesh.size())
        split(model, tensor_mesh)
    # Split over all ranks, with one share of the data, there is nothing left to shard.
    if data_mesh.size() > 1 or tensor_mesh.size() == 1:
        shard(model, data_mesh)


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a model in place: each of its repeated layers by itself, then the rest.

    Layers by themselves are gathered one at a time; the rest, such as embeddings, stays gathered
    from the forward pass to the backward pass.

    Args:
        model: its repeated layers are in a ModuleList, as in transformers.
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
    encoder_decoder: Any = model
    return [encoder_decoder.get_encoder(), encoder_decoder.get_decoder()]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
