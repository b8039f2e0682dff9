"""Sharding a model over ranks: each holds a part of every layer, and of the optimizer's state.

This is torch's second FSDP (``fully_shard``), which shards over gloo on CPUs as over NCCL on
GPUs; Lightning's FSDPStrategy wraps the first, which needs a GPU.
"""

from __future__ import annotations

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard


def sharded(ranks: int) -> ModelParallelStrategy:
    """Return the strategy that ``--strategy fsdp`` stands for.

    Checkpoints are whole files, gathered on rank 0, so that a run can go on with other ranks.

    Args:
        ranks: processes of the run, all machines together.
    """
    return ModelParallelStrategy(
        data_parallel_size=ranks, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a model in place: each of its repeated layers by itself, then what is left.

    Args:
        model: its repeated layers are in a list, as in transformers.
        mesh: the ranks.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=_parameters, default=nn.ModuleList())
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
