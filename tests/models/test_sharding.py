"""Each repeated layer is sharded by itself, in both stacks of an encoder-decoder too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from carbon_trainer.models.build import build_model

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

pytestmark = pytest.mark.slow


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    import torch.distributed
    from torch.distributed.device_mesh import init_device_mesh

    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("name", "layers"), [("gpt-neox-tiny", 4), ("macaw-tiny", 2 + 2)])
def test_every_layer_is_sharded_by_itself(mesh: DeviceMesh, name: str, layers: int) -> None:
    from torch.distributed.fsdp import FSDPModule

    from carbon_trainer.models.sharding import shard

    model, _ = build_model(name, vocab_size=300, block_size=16)
    shard(model, mesh)
    sharded = [module for module in model.modules() if isinstance(module, FSDPModule)]
    assert len(sharded) == layers + 1
