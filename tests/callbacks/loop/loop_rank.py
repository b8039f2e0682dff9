"""One process of a small distributed loop; started by test_recorder with torchrun's environment."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from carbon_trainer import RunRecorder
from carbon_trainer.errors import InputError

Backward = Callable[[torch.Tensor], Any]


def met(launcher: str, model: torch.nn.Module) -> tuple[torch.nn.Module, Backward]:
    """Let the processes meet in a launcher's way; return the model and what goes backward."""
    if launcher == "fabric":
        from lightning.fabric import Fabric

        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        return fabric.setup_module(model), fabric.backward
    if launcher == "accelerate":
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        return accelerator.prepare(model), accelerator.backward
    if launcher == "torch":
        torch.distributed.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    return model, torch.Tensor.backward


def main(launcher: str, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    model, backward = met(launcher, torch.nn.Linear(8, 1))
    steps = settings.pop("steps", 5000)
    batches = ({"input_ids": torch.zeros(2, 8)} for _ in range(steps))
    told: dict[str, Any] = {"steps": 0}
    try:
        with RunRecorder(host_metering=False, **settings) as run:
            for batch in run.steps(batches):
                time.sleep(0.01)
                backward(model(batch["input_ids"]).square().mean())
                told["steps"] += 1
            told["status"] = run.outcome and run.outcome.status
    except InputError as error:
        told["refused"] = str(error)
    Path(f"rank{os.environ['RANK']}.json").write_text(json.dumps(told))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
